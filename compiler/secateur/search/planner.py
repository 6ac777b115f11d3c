"""From budgets to the rungs of a ladder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from secateur.ir import Budget, InfeasibleError
from secateur.ir.groups import Keep
from secateur.search.cost import Costs
from secateur.search.estimator import Estimator, Source
from secateur.search.path import Step

SMALLEST_SHARE_OF_LATENCY = 0.25
"""Unless a budget asks for less, the smallest rung takes this share of the full network's time."""


@dataclass(frozen=True)
class Plan:
    """One planned rung and the estimates it was chosen by."""

    keep: dict[str, int]
    latency_ms: float
    memory_mb: float
    energy_mj: float
    size_kb: float
    macs: int
    params: int
    latency_source: Source = "roofline"


def plan_rung(step: Step, costs: Costs, model: Estimator) -> Plan:
    """Return the estimates for one point of a path."""
    return Plan(
        keep=step.keep,
        latency_ms=step.latency_ms,
        memory_mb=model.memory_mb(costs, step.keep),
        energy_mj=model.energy_mj(step.latency_ms),
        size_kb=model.size_kb(costs, step.keep),
        macs=costs.macs(step.keep),
        params=costs.params(step.keep),
        latency_source=model.source,
    )


def plan_ladder(
    path: list[Step],
    costs: Costs,
    model: Estimator,
    budget: Budget,
    rungs: int,
    spacing: Callable[[Keep], float] | None = None,
) -> list[Plan]:
    """Choose the rungs: the original, then points of the path that meet the budgets, in even ratios of latency.

    Args:
        path: nested keep-counts, latency falling.
        costs: of the network.
        model: what estimates latency, memory, energy and size.
        budget: binds every rung but the original; ``accuracy_drop`` is checked later, on the tuned rungs.
        rungs: most rungs, with the original; fewer if the path has fewer distinct points.
        spacing: what is spaced in even ratios, if not the latency: several profiles that space by the same choose the same.

    Raises:
        InfeasibleError: if no point meets the budgets; says what the nearest point has.
    """
    plans = [plan_rung(step, costs, model) for step in path]
    fitting = [plan for plan in plans if not violations(plan, budget)]
    if not fitting:
        nearest = min(plans, key=lambda plan: sum(max(0.0, v) for v in violations(plan, budget).values()))
        asked = ", ".join(f"{name} ≤ {bound:g}" for name, bound, _ in _bounds(nearest, budget))
        got = ", ".join(f"{name} {value:.4g}" for name, _, value in _bounds(nearest, budget))
        raise InfeasibleError(
            f"infeasible for {model.profile.name} ({model.precision}, {model.source}): "
            f"asked for {asked}; the nearest is {got}"
        )
    original = plans[0]
    below = [plan for plan in fitting if plan.latency_ms < original.latency_ms]
    if rungs < 2 or not below:
        return [original]

    def space(plan: Plan) -> float:
        return spacing(plan.keep) if spacing is not None else plan.latency_ms

    whole, top = space(original), space(below[0])
    bottom = max(space(below[-1]), min(SMALLEST_SHARE_OF_LATENCY * whole, top * 0.5))
    unbound = top > 0.9 * whole
    targets = np.geomspace(whole, bottom, rungs)[1:] if unbound else np.geomspace(top, bottom, rungs - 1)
    chosen = [original]
    for target in targets:
        plan = min(below, key=lambda p: abs(np.log(space(p) / target)))
        if plan.latency_ms < chosen[-1].latency_ms:
            chosen.append(plan)
    return chosen


def _bounds(plan: Plan, budget: Budget) -> list[tuple[str, float, float]]:
    """Name, bound and planned value of every budget that can be planned."""
    pairs = [
        ("latency in ms", budget.latency_ms, plan.latency_ms),
        ("memory in MB", budget.memory_mb, plan.memory_mb),
        ("energy in mJ", budget.energy_mj, plan.energy_mj),
        ("size in KiB", budget.size_kb, plan.size_kb),
    ]
    return [(name, bound, value) for name, bound, value in pairs if bound is not None]


def violations(plan: Plan, budget: Budget) -> dict[str, float]:
    """Return by how much (relative) a plan misses each budget that it misses."""
    return {name: value / bound - 1 for name, bound, value in _bounds(plan, budget) if value > bound}
