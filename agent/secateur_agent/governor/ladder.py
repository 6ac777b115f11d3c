"""What each rung costs on this device: the plan of the manifest, corrected by what was measured here."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Literal

import msgspec

from secateur_agent.bundle.manifest import RungEntry
from secateur_agent.governor.expected_accuracy import expected_accuracy
from secateur_agent.protocol.messages import RungMeasurement


class RungModel(msgspec.Struct, frozen=True, kw_only=True):
    """One rung as the governor sees it; costs are those of the unthrottled device.

    ``latency_source`` is ``measured`` (here), ``scaled`` (planned, times what the measured rungs took longer than
    planned) or ``planned``. ``accuracy`` is the manifest's metric, 0 to 1.
    """

    id: str
    precision: str
    accuracy: float
    latency_ms: float
    latency_source: Literal["measured", "scaled", "planned"]
    peak_mb: float
    energy_mj: float
    energy_source: Literal["measured", "estimated"]


def merge(rungs: Iterable[RungEntry], measurements: Iterable[RungMeasurement]) -> tuple[RungModel, ...]:
    """Join the plan with the measurements.

    A measured rung has its measured values. The others are scaled by the median of measured ÷ planned over the
    measured rungs of the same precision (of all, if there is none). Energy that was not measured is the planned power
    (planned energy ÷ planned latency), corrected likewise, times the latency.

    Args:
        rungs: entries of the manifest and of rungs that were cut later.
        measurements: what this device measured; those of other rungs are ignored.

    Returns:
        The ladder, most accurate rung first; of equally accurate ones the larger first, then the faster.
    """
    entries = list(rungs)
    accuracy = expected_accuracy(entries)
    macs = {entry.id: entry.macs for entry in entries}
    measured = {measurement.rung: measurement for measurement in measurements}
    seen = [(entry, measured[entry.id]) for entry in entries if entry.id in measured]
    latency = _corrections(seen, lambda entry, got: got.latency_p50_ms / entry.latency_ms)
    memory = _corrections(seen, lambda entry, got: got.peak_rss_mb / entry.memory_mb)
    power = _corrections(seen, lambda entry, got: (_energy_mj(got) or 0) / got.latency_p50_ms / _power_w(entry))

    def model(entry: RungEntry) -> RungModel:
        got = measured.get(entry.id)
        latency_ms = got.latency_p50_ms if got else entry.latency_ms * latency(entry.precision)
        energy_mj = _energy_mj(got) if got else None
        measured_energy = got is not None and energy_mj is not None and got.energy_quality == "measured"
        return RungModel(
            id=entry.id,
            precision=entry.precision,
            accuracy=accuracy[entry.id],
            latency_ms=latency_ms,
            latency_source="measured" if got else "scaled" if seen else "planned",
            peak_mb=got.peak_rss_mb if got else entry.memory_mb * memory(entry.precision),
            energy_mj=_power_w(entry) * power(entry.precision) * latency_ms if energy_mj is None else energy_mj,
            energy_source="measured" if measured_energy else "estimated",
        )

    return tuple(sorted(map(model, entries), key=lambda r: (-r.accuracy, -macs[r.id], r.latency_ms, r.peak_mb, r.id)))


def _power_w(entry: RungEntry) -> float:
    """Planned power while inferring (mJ ÷ ms)."""
    return entry.energy_mj / entry.latency_ms


def _energy_mj(measurement: RungMeasurement) -> float | None:
    return None if measurement.energy_quality == "unavailable" else measurement.energy_mj


def _corrections(
    seen: list[tuple[RungEntry, RungMeasurement]], ratio: Callable[[RungEntry, RungMeasurement], float]
) -> Callable[[str], float]:
    """Return precision → median measured ÷ planned; a ratio of 0 means that the rung was not measured in this."""
    by_precision: dict[str, list[float]] = {}
    for entry, measurement in seen:
        value = ratio(entry, measurement)
        if value > 0:
            by_precision.setdefault(entry.precision, []).append(value)
    every = [value for values in by_precision.values() for value in values]
    return lambda precision: _median(by_precision.get(precision) or every or [1.0])


def _median(values: list[float]) -> float:
    """Not `statistics`, whose imports would cost the supervisor a third of a megabyte."""
    ordered, half = sorted(values), len(values) // 2
    return ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2
