"""Which precision a bundle gets where that can be measured: the fastest that is accurate enough, not the one of habit.

Integers are not faster everywhere: their kernels may be worse than those in float, and values are converted between them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from secateur.evaluation import time_interleaved
from secateur.export import writable
from secateur.ir import Samples
from secateur.master import Master
from secateur.mixed_precision import mix_precisions
from secateur.writing import rung_file
from secateur_profiles import Profile

AS_FAST = 1.05
"""Times that differ by less are the same; then the smaller file is taken."""


@dataclass(frozen=True)
class Candidate:
    """The full network's file in one precision.

    Attributes:
        precision: of the file.
        latency_ms: measured here.
        metric: on validation.
        file_bytes: its size.
        accurate: whether it loses no more than is allowed.
        chosen: whether the bundle gets it.
    """

    precision: str
    latency_ms: float
    metric: float
    file_bytes: int
    accurate: bool
    chosen: bool = False


def weigh_precisions(
    master: Master,
    profile: Profile,
    judged: Samples,
    exact: float,
    metric: Callable[[bytes], float],
    allowed: float,
    on_file: Callable[[int, int], None] = lambda done, total: None,
) -> list[Candidate]:
    """Write the full network in every precision of a profile of this machine, and time the files in turns.

    Args:
        master: the original's.
        profile: of this machine.
        judged: validation inputs, on which calibrators are compared.
        exact: metric of the original.
        metric: of a file, on validation.
        allowed: what a precision may cost, in units of the metric.
        on_file: told how many files are written, of how many.

    Returns:
        The candidates in the profile's order; one of them is chosen.
    """
    runtime, keep = profile.runtime.name, master.groups.full()
    precisions = [each for each in profile.precisions if each in writable(runtime)]
    index, files = master.index(keep), []
    for number, precision in enumerate(precisions):
        mixed, _, made = mix_precisions(master, profile, precision, judged, exact, metric, allowed)
        files.append(rung_file(mixed, made.network, index, precision, made.ranges, runtime))
        on_file(number + 1, len(precisions))
    times = time_interleaved(files, precisions, profile.runtime.threads)
    values = [round(metric(data), 6) for data in files]
    found = [
        Candidate(precision, float(f"{timing.p50_ms:.5g}"), value, len(data), value >= exact - allowed)
        for precision, timing, value, data in zip(precisions, times, values, files)
    ]
    best = _best(found)
    return [replace(each, chosen=each is best) for each in found]


def _best(found: Sequence[Candidate]) -> Candidate:
    """The smallest of the fastest that are accurate; if none is, of those that lose least."""
    most = max(each.metric for each in found)
    able = [each for each in found if each.accurate] or [each for each in found if each.metric == most]
    fastest_ms = min(each.latency_ms for each in able)
    return min((each for each in able if each.latency_ms <= AS_FAST * fastest_ms), key=lambda each: each.file_bytes)


def told(profile: str, found: Sequence[Candidate]) -> str:
    """Return a line for the user."""
    listed = ", ".join(
        f"{each.precision} {each.latency_ms:.3g} ms, {each.metric:.4f}, {each.file_bytes / 1000:.0f} kB"
        + ("" if each.accurate else " (not accurate enough)")
        for each in found
    )
    chosen = next(each.precision for each in found if each.chosen)
    return f"{profile}: {chosen}, chosen from files of the full network that were timed here: {listed}"
