"""What accuracy to expect of each rung: as measured by the host, but never less than of a smaller rung of its precision.

A validation split is often small (one person, one shift, one room), and on it a cut network may score better than the
network it was cut from by luck alone. The rungs are nested, so the larger can do all that the smaller can: that order is
known, and the measured values are fitted to it by least squares (isotonic regression, pool-adjacent-violators: Barlow,
Bartholomew, Bremner and Brunk, "Statistical Inference under Order Restrictions", 1972).
"""

from __future__ import annotations

from collections.abc import Iterable

from secateur_agent.bundle.manifest import RungEntry


def expected_accuracy(entries: Iterable[RungEntry]) -> dict[str, float]:
    """Fit the metric of the rungs to the order of their sizes, each precision by itself.

    Args:
        entries: the rungs, in any order.

    Returns:
        Rung id → metric, 0 to 1; not decreasing in multiply-accumulates within a precision.
    """
    expected: dict[str, float] = {}
    by_precision: dict[str, list[RungEntry]] = {}
    for entry in entries:
        by_precision.setdefault(entry.precision, []).append(entry)
    for alike in by_precision.values():
        pools: list[list[RungEntry]] = []
        for entry in sorted(alike, key=lambda rung: (rung.macs, rung.latency_ms, rung.id)):
            pools.append([entry])
            while len(pools) > 1 and _mean(pools[-2]) >= _mean(pools[-1]):
                pools[-2:] = [pools[-2] + pools[-1]]
        for pool in pools:
            expected.update(dict.fromkeys((rung.id for rung in pool), _mean(pool)))
    return expected


def _mean(pool: list[RungEntry]) -> float:
    return sum(rung.metric_value for rung in pool) / len(pool)
