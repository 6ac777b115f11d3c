"""Moves rungs along the path until what was *built* meets the budgets: a plan is an estimate, a file is not.

Accuracy and size are known of every file. Latency, memory and energy are measured where the device is this machine.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np

from secateur.ir import Budget
from secateur.search import Plan
from secateur_agent.bundle.manifest import RungEntry
from secateur_agent.protocol.messages import RungMeasurement

Rung = TypeVar("Rung")
MOST_POINTS = 31
"""Of the path between two rungs no more are considered: five files are built to find one that meets the budgets."""


@dataclass(frozen=True)
class Shortfall:
    """What a rung misses, in words, and whether a larger network may mend it (True), a smaller one (False), or none."""

    reason: str
    larger: bool | None


@dataclass(frozen=True)
class Fitted(Generic[Rung]):
    """What came of one planned rung.

    Attributes:
        rung: as it was built last.
        plan: of that rung.
        missed: what it still misses; it must not be shipped. None if nothing.
        moved: what the planned rung missed, if this is another.
    """

    rung: Rung
    plan: Plan
    missed: Shortfall | None = None
    moved: Shortfall | None = None

    @property
    def smaller_are_worse(self) -> bool:
        """Whether a larger network was needed, found or not: then nothing smaller meets the budgets either."""
        return any(each is not None and bool(each.larger) for each in (self.missed, self.moved))


def shortfall(
    entry: RungEntry, budget: Budget, original: float, measured: Callable[[], RungMeasurement] | None
) -> Shortfall | None:
    """Return what a built rung misses of the budgets, or None.

    Args:
        entry: of the rung; its file's size and its metric are known.
        budget: what was asked for.
        original: the original's metric.
        measured: measures the rung on this machine; None if it is for another.
    """
    drop = (original - entry.metric_value) * 100
    if budget.accuracy_drop is not None and drop > budget.accuracy_drop:
        return Shortfall(f"accuracy drops by {drop:.1f} points, the budget is {budget.accuracy_drop:g}", True)
    size_kb = entry.file_bytes / 1024
    if budget.size_kb is not None and size_kb > budget.size_kb:
        return Shortfall(f"the file has {size_kb:.1f} KiB, the budget is {budget.size_kb:g}", False)
    # Latencies are planned anew where layers stay float; entries have five digits.
    if budget.latency_ms is not None and entry.latency_ms > 1.0001 * budget.latency_ms:
        return Shortfall(f"takes {entry.latency_ms:.3g} ms as planned, the budget is {budget.latency_ms:g}", False)
    if measured is None or (budget.latency_ms, budget.memory_mb, budget.energy_mj) == (None, None, None):
        return None
    found = measured()
    values = [
        ("takes", found.latency_p50_ms, budget.latency_ms, "ms"),
        ("peaks at", found.peak_rss_mb, budget.memory_mb, "MB"),
        ("spends", found.energy_mj, budget.energy_mj, "mJ"),
    ]
    for verb, value, bound, unit in values:
        if bound is not None and value is not None and value > bound:
            return Shortfall(f"{verb} {value:.3g} {unit}, measured here, the budget is {bound:g}", False)
    return None


def fit_rung(
    plan: Plan,
    larger: Sequence[Plan],
    smaller: Sequence[Plan],
    build: Callable[[Plan], Rung],
    check: Callable[[Rung], Shortfall | None],
) -> Fitted[Rung]:
    """Build a planned rung, and if it misses a budget, the nearest point of the path that does not.

    Args:
        plan: the planned rung.
        larger: points between it and the rung above, by falling size.
        smaller: points between it and the rung below, by falling size.
        build: makes the rung of a plan.
        check: what a rung misses.
    """
    rung = build(plan)
    missed = check(rung)
    if missed is None or missed.larger is None:
        return Fitted(rung, plan, missed)
    side = _thinned(list(larger)[::-1] if missed.larger else list(smaller))
    found: Fitted[Rung] | None = None
    low, high = 0, len(side)
    while low < high:
        middle = (low + high) // 2
        other = build(side[middle])
        if check(other) is None:
            found = Fitted(other, side[middle], None, missed)
            high = middle
        else:
            low = middle + 1
    return found or Fitted(rung, plan, missed)


def _thinned(points: list[Plan]) -> list[Plan]:
    if len(points) <= MOST_POINTS:
        return points
    return [points[int(index)] for index in np.linspace(0, len(points) - 1, MOST_POINTS).round()]
