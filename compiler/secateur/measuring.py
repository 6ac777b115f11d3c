"""Makes latency tables: which operators, how each is timed, and from times to a table.

The three are apart, so that another machine can do the timing: `what_to_time` says what, a `Timer` times model files,
`table_of` makes the table, `calibrated` corrects it by whole networks.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import msgspec
import numpy as np

from secateur.evaluation import describe_machine, runtime_version, time_interleaved
from secateur.graph import find_groups
from secateur.ir import Groups, Network, SecateurError, Signature, SizedOperator
from secateur.ir.groups import Keep
from secateur.measure import Probe, Times, all_probes, solve
from secateur.pruning import cut
from secateur.search import Costs, LatencyTable, MeasuredTable
from secateur.search.latency_table import Calibration, Entry, Key, Point
from secateur.search.measurement_points import operators_of, standard_operators
from secateur.writing import file_of
from secateur_profiles import Profile

BATCH = 24
"""Files that are timed in turns; more would only take more memory."""
TINY = SizedOperator(Signature("Linear"), 8, 8)
"""An operator that does next to nothing: its time is that of any operator, and its shortest network's that of a run."""
SHARES = (1.0, 0.75, 0.5, 0.25)
"""Widths of the whole networks that a table is corrected by."""
SCALES = (0.5, 2.0)
"""Beyond these the sum of the operators says nothing of the network, and only its ratio to it is kept."""

Tell = Callable[[str, int, int], None]


class Timer(Protocol):
    """Times model files, all in turns."""

    def __call__(self, files: Sequence[bytes], precision: str, threads: int) -> Sequence[Times]:
        """Return p50 and p95 of each file."""


@dataclass(frozen=True)
class Here:
    """Times on this machine."""

    rounds: int = 9

    def __call__(self, files: Sequence[bytes], precision: str, threads: int) -> Sequence[Times]:
        """Return p50 and p95 of each file."""
        found = time_interleaved(files, precision, threads, self.rounds)
        return [Times(timing.p50_ms, timing.p95_ms) for timing in found]


@dataclass(frozen=True)
class Wanted:
    """What is timed for one table.

    Attributes:
        profile: that is measured for.
        precision: of the files.
        network: whose operators they are; None for the standard set.
        groups: its channel groups.
        costs: of the network.
        probes: of the operators, `TINY` among them.
        keeps: whole networks that the table is corrected by.
    """

    profile: Profile
    precision: str
    network: Network | None
    groups: Groups
    costs: Costs | None
    probes: dict[SizedOperator, Probe]
    keeps: list[Keep]

    def whole_networks(self) -> Iterator[Network]:
        """Yield the networks that the table is corrected by."""
        for keep in self.keeps:
            assert self.network is not None
            yield cut(self.network, self.groups, keep)


def what_to_time(profile: Profile, precision: str, network: Network | None = None) -> Wanted:
    """Return what is to be timed.

    Args:
        profile: to measure for.
        precision: of the files.
        network: whose operators are timed, and which the table is corrected by; the standard set if None.

    Raises:
        SecateurError: if nothing of the network can be timed.
    """
    groups = find_groups(network) if network is not None else Groups([])
    costs = Costs(network, groups) if network is not None else None
    grid = profile.grid.channels
    wanted = operators_of(costs, groups, grid) if costs is not None else standard_operators(grid)
    probes = all_probes([*wanted, TINY])
    if len(probes) < 2:
        raise SecateurError("measure: none of the network's operators can be timed by itself; plans stay with the roofline")
    keeps: list[Keep] = []
    for share in SHARES if network is not None else ():
        keep = {g.id: _on_grid(g.size, share, grid) for g in groups.groups}
        if keep not in keeps:
            keeps.append(keep)
    return Wanted(profile, precision, network, groups, costs, probes, keeps)


def measure_table(
    profile: Profile, precision: str, network: Network | None = None, timer: Timer | None = None, tell: Tell | None = None
) -> LatencyTable:
    """Measure a table on this machine.

    Args:
        profile: whose runtime and threads are measured.
        precision: of the files.
        network: whose operators are timed, and which the table is corrected by; the standard set if None.
        timer: times the files; this machine if None.
        tell: told what is done, how much of it, and of how much.

    Raises:
        SecateurError: if this machine cannot stand for the profile, or nothing of the network can be timed.
    """
    if profile.runtime.name != "onnxruntime" or precision not in profile.precisions:
        raise SecateurError(f"profile {profile.name}: {precision} on {profile.runtime.name} cannot be measured here")
    timing, say = timer or Here(), tell or (lambda stage, done, total: None)
    wanted = what_to_time(profile, precision, network)
    raw = time_probes(wanted.probes, precision, profile.runtime.threads, timing, say)
    table = table_of(profile, precision, wanted.probes, raw)
    if not wanted.keeps:
        return table
    say("check", 0, 1)
    files = [probe_file(each, precision) for each in wanted.whole_networks()]
    measured = timing(files, precision, profile.runtime.threads)
    return calibrated(table, wanted, [found.p50_ms for found in measured])


def time_probes(
    probes: Mapping[SizedOperator, Probe], precision: str, threads: int, timer: Timer, tell: Tell
) -> dict[SizedOperator, tuple[Times, Times]]:
    """Time the shorter and the longer network of every probe.

    Args:
        probes: from `secateur.measure.all_probes`.
        precision: in which the networks are exported.
        threads: inside an operator.
        timer: times the files.
        tell: told how many operators are timed.
    """
    found: dict[SizedOperator, tuple[Times, Times]] = {}
    operators = list(probes)
    step = BATCH // 2
    for start in range(0, len(operators), step):
        tell("time", start, len(operators))
        chosen = operators[start : start + step]
        files = [probe_file(probes[o].build(length), precision) for o in chosen for length in probes[o].lengths]
        times = list(timer(files, precision, threads))
        found |= {operator: (times[2 * i], times[2 * i + 1]) for i, operator in enumerate(chosen)}
    tell("time", len(operators), len(operators))
    return found


def table_of(
    profile: Profile,
    precision: str,
    probes: Mapping[SizedOperator, Probe],
    times: Mapping[SizedOperator, tuple[Times, Times]],
    machine: str = "",
    version: str = "",
    device: str = "",
    slowed: Collection[SizedOperator] = (),
) -> LatencyTable:
    """Make a table of the times of probes.

    Args:
        profile: that was measured for.
        precision: that was measured.
        probes: with `TINY` among them.
        times: of each probe's two networks.
        machine: that was measured; this one if empty.
        version: of its runtime; the installed one if empty.
        device: of the fleet that was measured, if it was one.
        slowed: operators that were timed while it was throttled.
    """
    solved = solve(probes, times)
    entries: dict[Signature, list[Point]] = {}
    for operator, found in solved.items():
        point = Point(
            channels_in=operator.channels_in,
            channels_out=operator.channels_out,
            p50_ms=_short(found.p50_ms),
            p95_ms=_short(found.p95_ms),
            slowed=operator in slowed,
        )
        entries.setdefault(operator.signature, []).append(point)
    operator_ms = solved[TINY].p50_ms
    run_ms = max(0.0, times[TINY][0].p50_ms - probes[TINY].lengths[0] * operator_ms)
    key = Key(
        profile=profile.name,
        runtime=profile.runtime.name,
        runtime_version=version or runtime_version(),
        precision=precision,
        threads=profile.runtime.threads,
        machine=machine or describe_machine(),
        date=datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        device=device,
    )
    return LatencyTable(
        v=1,
        key=key,
        run_overhead_ms=_short(run_ms),
        operator_overhead_ms=_short(operator_ms),
        calibration=Calibration(offset_ms=_short(run_ms)),
        entries=tuple(
            Entry(signature=s, points=tuple(sorted(points, key=lambda p: (p.channels_in, p.channels_out))))
            for s, points in sorted(entries.items(), key=lambda item: repr(item[0]))
        ),
    )


def calibrated(table: LatencyTable, wanted: Wanted, measured_ms: Sequence[float | None]) -> LatencyTable:
    """Return a table with the correction that whole networks ask for.

    Args:
        table: without a correction.
        wanted: what it was made from.
        measured_ms: of each of the whole networks; None for one that could not be timed.
    """
    estimator = MeasuredTable(table, wanted.profile)
    pairs = [
        (estimator.operators_ms(wanted.costs, keep), found)
        for keep, found in zip(wanted.keeps, measured_ms)
        if found is not None and wanted.costs is not None
    ]
    if not pairs:
        return table
    sums, found_ms = zip(*pairs)
    return msgspec.structs.replace(table, calibration=fit(sums, found_ms, table.run_overhead_ms))


def fit(sums_ms: Sequence[float], measured_ms: Sequence[float], run_overhead_ms: float) -> Calibration:
    """Return the line through (sum of operators, measured latency) with the least squared relative error.

    Args:
        sums_ms: of the networks' operators, as the table has them.
        measured_ms: of the same networks.
        run_overhead_ms: taken as the offset if the line makes no sense.
    """
    x, y = np.asarray(sums_ms), np.asarray(measured_ms)
    checked = len(x)
    if checked >= 2 and np.ptp(x) > 0.05 * x.max():
        (scale, offset), *_ = np.linalg.lstsq(np.stack([x / y, 1 / y], 1), np.ones(checked), rcond=None)
        if SCALES[0] <= scale <= SCALES[1] and abs(offset) <= 0.8 * y.min():
            return Calibration(scale=_short(scale), offset_ms=_short(offset), checked=checked)
    ratio = float(np.median(np.maximum(y - run_overhead_ms, 0.1 * y) / x))
    return Calibration(scale=_short(min(max(ratio, 0.2), 5.0)), offset_ms=_short(run_overhead_ms), checked=checked)


def _on_grid(size: int, share: float, grid: int) -> int:
    if share >= 1 or size <= grid:
        return size
    return min(size, max(grid, round(size * share / grid) * grid))


def probe_file(network: Network, precision: str, runtime: str = "onnxruntime") -> bytes:
    """Return a network to be timed as a file, in the very form of a rung.

    Args:
        network: in normal form.
        precision: of the file; int8 is quantized on noise, for values do not change the time.
        runtime: that reads it.
    """
    shape = next(iter(network.inputs.values()))[1:]
    inputs = np.random.default_rng(0).standard_normal((2, *shape)).astype(np.float32)
    return file_of(network, inputs, precision, runtime=runtime)


def _short(value: float) -> float:
    return float(f"{value:.5g}")
