"""Times the files of a ladder against each other: a rung that is not faster than a larger one has no right to exist.

Fewer operations are not less time: kernels compute whole blocks, and small layers wait for memory.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from secateur.assembly import BuiltRung, Ladder
from secateur.evaluation import Timing, time_interleaved
from secateur.ir import InfeasibleError

Timer = Callable[[Sequence[bytes], str, int], Sequence[Timing]]


def verify_latency(ladder: Ladder, precision: str, threads: int, profile: str, timer: Timer = time_interleaved) -> Ladder:
    """Return the ladder without the rungs that are not faster than one above; the others know their measured latency.

    A machine may be busy at the wrong moment: before a rung is dropped, all are timed once more, and it must lose twice.

    Args:
        ladder: largest rung first; the first is the original and stays.
        precision: of its files.
        threads: inside an operator.
        profile: for errors.
        timer: times files in turns.

    Raises:
        InfeasibleError: if no rung below the original is faster than it.
    """
    files = [rung.data for rung in ladder.rungs]
    first = [timing.p50_ms for timing in timer(files, precision, threads)]
    slow = _not_faster(first)
    if slow:
        second = [timing.p50_ms for timing in timer(files, precision, threads)]
        both = [min(pair) for pair in zip(first, second)]
        slow = {index: above for index, above in _not_faster(second).items() if index in slow}
        first = both
    kept: list[BuiltRung] = []
    dropped = dict(ladder.dropped)
    for index, rung in enumerate(ladder.rungs):
        if index in slow:
            above = ladder.rungs[slow[index]].entry.id
            dropped[rung.entry.id] = (
                f"takes {first[index]:.3g} ms, measured here, and is no faster than {above} ({first[slow[index]]:.3g} ms)"
            )
        else:
            kept.append(replace(rung, measured_ms=first[index]))
    if len(ladder.rungs) > 1 and len(kept) < 2:
        reasons = "; ".join(f"{rung}: {reason}" for rung, reason in dropped.items())
        raise InfeasibleError(f"infeasible for {profile}: no smaller rung is faster ({reasons})")
    return replace(ladder, rungs=kept, dropped=dropped)


def _not_faster(times_ms: Sequence[float]) -> dict[int, int]:
    """Index of a rung that is not faster than the fastest above it → index of that one."""
    found: dict[int, int] = {}
    fastest = 0
    for index in range(1, len(times_ms)):
        if times_ms[index] < times_ms[fastest]:
            fastest = index
        else:
            found[index] = fastest
    return found
