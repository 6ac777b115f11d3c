"""One more rung is chosen by what the device measured."""

from __future__ import annotations

from functools import partial
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.compiler.networks import board, network_of

from secateur.criteria import Evidence, score
from secateur.graph import find_groups
from secateur.ir import InfeasibleError
from secateur.search import Costs, Roofline, importance_losses, shrink_path
from secateur.search.choose import SAFETY, Corrections, corrections, latency_model, plan_between
from secateur.search.path import Step
from secateur_agent.protocol.messages import Constraints, RungMeasurement


def measured(rung: str, latency_ms: float) -> RungMeasurement:
    return RungMeasurement(rung=rung, latency_p50_ms=latency_ms, latency_p95_ms=latency_ms, peak_rss_mb=50.0)


@pytest.fixture(scope="module")
def setting() -> tuple[list[Step], Costs, Roofline]:
    network = network_of("mobilenet")
    groups = find_groups(network)
    costs, model = Costs(network, groups), Roofline(board(), "int8")
    losses = importance_losses(groups, score("magnitude-l2", Evidence(network, groups)))
    return (
        shrink_path(groups, losses, partial(model.latency_ms, costs), 4),
        costs,
        model,
    )


def test_without_measurements_nothing_is_corrected() -> None:
    assert latency_model({"r0-int8": 2.0}, [])(1.5) == 1.5
    assert latency_model({"r0-int8": 2.0}, [measured("r9-int8", 7.0)])(1.5) == 1.5


def test_measured_rungs_are_met_and_in_between_it_interpolates() -> None:
    model = latency_model({"r0-int8": 4.0, "r1-int8": 2.0}, [measured("r0-int8", 9.0), measured("r1-int8", 3.0)])
    assert model(4.0) == pytest.approx(9.0)
    assert model(2.0) == pytest.approx(3.0)
    assert model(3.0) == pytest.approx(6.0)
    assert model(1.0) == pytest.approx(1.5)
    assert model(8.0) == pytest.approx(18.0)


@given(
    st.lists(st.tuples(st.floats(0.01, 100), st.floats(0.01, 100)), min_size=1, max_size=6),
    st.lists(st.floats(0.001, 500), min_size=2, max_size=8),
)
def test_the_model_is_monotone_even_if_measurements_are_not(pairs: list[tuple[float, float]], queries: list[float]) -> None:
    planned = {f"r{i}-int8": planned for i, (planned, _) in enumerate(pairs)}
    model = latency_model(planned, [measured(f"r{i}-int8", real) for i, (_, real) in enumerate(pairs)])
    values = [model(value) for value in sorted(queries)]
    assert all(b >= a * (1 - 1e-9) for a, b in pairwise(values))
    assert all(value > 0 for value in values)


def test_the_largest_width_that_meets_the_limit_is_chosen(setting: tuple[list[Step], Costs, Roofline]) -> None:
    path, costs, model = setting
    existing = {"r0-int8": path[0].latency_ms, "r1-int8": path[-1].latency_ms}
    limit = (path[0].latency_ms + path[-1].latency_ms) / 2
    plan = plan_between(path, costs, model, lambda v: v, Constraints(latency_ms=limit), existing)
    assert plan.latency_ms <= SAFETY * limit
    larger = [step for step in path if step.latency_ms > plan.latency_ms]
    assert all(step.latency_ms > SAFETY * limit for step in larger)


def test_a_slower_device_gets_a_smaller_rung(setting: tuple[list[Step], Costs, Roofline]) -> None:
    path, costs, model = setting
    limit = Constraints(latency_ms=0.8 * path[0].latency_ms)
    fast = plan_between(path, costs, model, lambda v: v, limit, {})
    slow = plan_between(path, costs, model, lambda v: 1.4 * v, limit, {})
    assert slow.macs < fast.macs


def test_memory_and_energy_limits_hold(setting: tuple[list[Step], Costs, Roofline]) -> None:
    path, costs, model = setting
    memory = (model.memory_mb(costs, path[0].keep) + model.memory_mb(costs, path[-1].keep)) / 2
    assert plan_between(path, costs, model, lambda v: v, Constraints(memory_mb=memory), {}).memory_mb <= memory
    energy = model.energy_mj(0.6 * path[0].latency_ms)
    assert plan_between(path, costs, model, lambda v: v, Constraints(energy_mj=energy), {}).energy_mj <= energy


def test_a_width_that_is_a_rung_already_is_refused(setting: tuple[list[Step], Costs, Roofline]) -> None:
    path, costs, model = setting
    limit = Constraints(latency_ms=path[3].latency_ms / SAFETY * 1.0001)
    with pytest.raises(InfeasibleError, match="a rung of the ladder already"):
        plan_between(path, costs, model, lambda v: v, limit, {"r1-int8": path[3].latency_ms})


def test_what_no_width_meets_is_refused_and_the_nearest_told(setting: tuple[list[Step], Costs, Roofline]) -> None:
    path, costs, model = setting
    with pytest.raises(InfeasibleError, match=f"takes {path[-1].latency_ms:.4g} ms"):
        plan_between(path, costs, model, lambda v: v, Constraints(latency_ms=path[-1].latency_ms / 2), {})


def test_memory_and_energy_are_corrected_by_what_was_measured(setting: tuple[list[Step], Costs, Roofline]) -> None:
    path, costs, model = setting
    existing = {"r0-int8": path[0].latency_ms, "r1-int8": path[-1].latency_ms}
    assert corrections(path, costs, model, existing, []) == Corrections(1.0, 1.0)
    found = [
        RungMeasurement(
            rung=rung,
            latency_p50_ms=step.latency_ms,
            latency_p95_ms=1.0,
            peak_rss_mb=1.2 * model.memory_mb(costs, step.keep),
            energy_mj=1.5 * model.energy_mj(step.latency_ms),
        )
        for rung, step in (("r0-int8", path[0]), ("r1-int8", path[-1]), ("r9-int8", path[1]))
    ]
    device = corrections(path, costs, model, existing, found)
    assert device.memory == pytest.approx(1.2)
    assert device.energy == pytest.approx(1.5)
    memory = 1.2 * (model.memory_mb(costs, path[0].keep) + model.memory_mb(costs, path[-1].keep)) / 2
    plan = plan_between(path, costs, model, lambda v: v, Constraints(memory_mb=memory), existing, device)
    assert path[-1].latency_ms < plan.latency_ms < path[0].latency_ms
    assert 1.2 * plan.memory_mb <= memory
    energy = 1.5 * model.energy_mj((path[0].latency_ms + path[-1].latency_ms) / 2)
    plan = plan_between(path, costs, model, lambda v: v, Constraints(energy_mj=energy), existing, device)
    assert 1.5 * plan.energy_mj <= energy
