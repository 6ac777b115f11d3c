"""Planned rungs meet every budget, or the nearest is told."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from itertools import pairwise

import pytest
from tests.compiler.networks import board, network_of

from secateur.criteria import Evidence, score
from secateur.graph import find_groups
from secateur.ir import Budget, InfeasibleError
from secateur.search import Costs, Plan, Roofline, importance_losses, plan_ladder, shrink_path
from secateur.search.path import Step
from secateur.search.planner import plan_rung


@pytest.fixture(scope="module")
def setting() -> tuple[list[Step], Costs, Roofline]:
    network = network_of("mobilenet")
    groups = find_groups(network)
    costs, model = Costs(network, groups), Roofline(board(), "fp32")
    scores = score("magnitude-l2", Evidence(network, groups))
    return shrink_path(groups, importance_losses(groups, scores), partial(model.latency_ms, costs), 4), costs, model


def middle(setting: tuple[list[Step], Costs, Roofline], bound: str) -> tuple[float, float, float]:
    """The original's, a middle and the smallest value of what ``bound`` bounds."""
    path, costs, model = setting
    values = [getattr(plan_rung(step, costs, model), bound) for step in path]
    return values[0], (values[0] + values[-1]) / 2, values[-1]


@pytest.mark.parametrize("bound", ["latency_ms", "memory_mb", "energy_mj", "size_kb"])
def test_every_rung_but_the_original_meets_the_budget(setting: tuple[list[Step], Costs, Roofline], bound: str) -> None:
    full, limit, _ = middle(setting, bound)
    plans = plan_ladder(*setting, replace(Budget(), **{bound: limit}), rungs=4)
    assert 2 <= len(plans) <= 4
    assert getattr(plans[0], bound) == full > limit
    assert all(getattr(plan, bound) <= limit for plan in plans[1:])
    latencies = [plan.latency_ms for plan in plans]
    assert latencies == sorted(set(latencies), reverse=True)


@pytest.mark.parametrize("bound", ["latency_ms", "memory_mb", "energy_mj", "size_kb"])
def test_an_infeasible_budget_tells_the_nearest(setting: tuple[list[Step], Costs, Roofline], bound: str) -> None:
    _, _, least = middle(setting, bound)
    with pytest.raises(InfeasibleError, match=r"asked for .* the nearest is") as caught:
        plan_ladder(*setting, replace(Budget(), **{bound: 0.9 * least}), rungs=4)
    assert f"{least:.4g}" in str(caught.value)
    assert caught.value.exit_code == 3


def test_all_budgets_hold_at_once(setting: tuple[list[Step], Costs, Roofline]) -> None:
    budget = Budget(latency_ms=middle(setting, "latency_ms")[1], size_kb=middle(setting, "size_kb")[1])
    for plan in plan_ladder(*setting, budget, rungs=5)[1:]:
        assert plan.latency_ms <= budget.latency_ms
        assert plan.size_kb <= budget.size_kb


def test_without_budgets_the_ladder_is_even_in_ratios(setting: tuple[list[Step], Costs, Roofline]) -> None:
    plans = plan_ladder(*setting, Budget(), rungs=4)
    assert [type(plan) for plan in plans] == [Plan] * 4
    ratios = [b.latency_ms / a.latency_ms for a, b in pairwise(plans)]
    assert max(ratios) - min(ratios) < 0.2
    assert plans[-1].latency_ms >= 0.2 * plans[0].latency_ms


def test_rungs_are_nested(setting: tuple[list[Step], Costs, Roofline]) -> None:
    plans = plan_ladder(*setting, Budget(), rungs=5)
    for above, below in pairwise(plans):
        assert all(below.keep[key] <= count for key, count in above.keep.items())
