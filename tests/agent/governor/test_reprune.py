"""When the governor asks for a rung that the ladder lacks: rarely, once, and only for what could help."""

from __future__ import annotations

from typing import Any

import pytest

from secateur_agent.governor import GovernorSample, GovernorState, RungModel, decide
from secateur_agent.governor.reprune import alike
from secateur_agent.protocol.messages import Constraints, Policy


def rung(name: str, accuracy: float, latency_ms: float, peak_mb: float = 100, energy_mj: float = 1) -> RungModel:
    return RungModel(
        id=name,
        precision=name.split("-", 1)[1],
        accuracy=accuracy,
        latency_ms=latency_ms,
        latency_source="measured",
        peak_mb=peak_mb,
        energy_mj=energy_mj,
        energy_source="measured",
    )


LADDER = (rung("r0-int8", 0.90, 20), rung("r1-int8", 0.80, 10))


def asks(
    ladder: tuple[RungModel, ...],
    policy: Policy,
    seconds: int = 300,
    state: GovernorState | None = None,
    start_s: int = 0,
    **reading: Any,
) -> tuple[GovernorState, list[tuple[int, Constraints]]]:
    """Run the governor once a second on a steady sample; return when it asked for what."""
    state = state or GovernorState()
    found = []
    for second in range(start_s, start_s + seconds):
        sample = GovernorSample(mono_s=float(second), **reading)
        state, decision = decide(state, sample, ladder, policy)
        if decision.ask is not None:
            found.append((second, decision.ask))
    return state, found


def test_asks_once_for_what_lies_between_two_rungs_after_it_lasted() -> None:
    assert asks(LADDER, Policy(latency_ms=15))[1] == [(5, Constraints(latency_ms=15))]


def test_constraints_are_in_units_of_the_unthrottled_device() -> None:
    assert asks(LADDER, Policy(latency_ms=30), throttle=2.0)[1] == [(5, Constraints(latency_ms=15))]


def test_asks_when_nothing_is_feasible() -> None:
    assert asks(LADDER, Policy(latency_ms=5))[1] == [(5, Constraints(latency_ms=5))]


def test_asks_for_less_memory_when_nothing_fits() -> None:
    (ask,) = asks(LADDER, Policy(memory_mb=80, latency_ms=1000))[1]
    assert ask[1] == Constraints(memory_mb=80)


def test_asks_for_energy_between_two_rungs() -> None:
    ladder = (rung("r0-int8", 0.90, 20, energy_mj=100), rung("r1-int8", 0.80, 10, energy_mj=50))
    reading: dict[str, Any] = {
        "battery_energy_mwh": 1000.0,
        "battery_charging": False,
        "idle_mw": 0.0,
        "request_rate_hz": 1.0,
    }
    policy = Policy(horizon_s=48_000, battery_reserve_percent=0)  # 75 mW at one request a second
    (when, ask), *_ = asks(ladder, policy, seconds=10, **reading)[1]
    assert when == 5
    assert ask.latency_ms is None
    assert ask.energy_mj == pytest.approx(75, rel=0.01)


@pytest.mark.parametrize(
    ("ladder", "limit_ms", "why"),
    [
        (LADDER, 20, "the top rung is feasible"),
        (LADDER, 10.5, "the limit leaves too little room above the lower rung"),
        ((rung("r0-int8", 0.9, 11.2), rung("r1-int8", 0.8, 10)), 11.1, "the rungs are neighbours already"),
        ((rung("r0-int8", 0.804, 20), rung("r1-int8", 0.8, 10)), 15, "there is no accuracy to gain"),
        ((rung("r0-fp32", 0.9, 20), rung("r1-int8", 0.8, 10)), 15, "nothing lies between two precisions"),
    ],
)
def test_does_not_ask_when(ladder: tuple[RungModel, ...], limit_ms: float, why: str) -> None:
    assert asks(ladder, Policy(latency_ms=limit_ms))[1] == [], why


def test_does_not_ask_when_the_larger_rung_does_not_fit_the_memory_either() -> None:
    ladder = (rung("r0-int8", 0.9, 20, peak_mb=300), rung("r1-int8", 0.8, 10))
    assert asks(ladder, Policy(latency_ms=15, memory_mb=200))[1] == []


def test_does_not_ask_when_no_network_could_help() -> None:
    reading: dict[str, Any] = {"mem_available_mb": 10.0, "worker_rss_mb": 5.0}
    assert asks(LADDER, Policy(), **reading)[1] == []


def test_the_policy_can_forbid_asking() -> None:
    assert asks(LADDER, Policy(latency_ms=15, reprune=False))[1] == []


def test_a_pinned_device_does_not_ask() -> None:
    assert asks(LADDER, Policy(latency_ms=15), pin="r1-int8")[1] == []


def test_a_passing_wish_is_not_asked_for() -> None:
    state = asks(LADDER, Policy(latency_ms=15), seconds=4)[0]
    state = asks(LADDER, Policy(latency_ms=25), seconds=1, state=state, start_s=4)[0]
    assert asks(LADDER, Policy(latency_ms=15), seconds=5, state=state, start_s=5)[1] == []


def test_another_wish_waits_for_the_interval_and_a_like_one_is_never_repeated() -> None:
    state, found = asks(LADDER, Policy(latency_ms=15), seconds=20)
    assert len(found) == 1
    state, found = asks(LADDER, Policy(latency_ms=12.5), seconds=100, state=state, start_s=20)
    assert found == [(65, Constraints(latency_ms=12.5))]
    state, found = asks(LADDER, Policy(latency_ms=15.5), seconds=300, state=state, start_s=120)
    assert found == []


def test_a_new_ladder_may_be_asked_about_again() -> None:
    state, _ = asks(LADDER, Policy(latency_ms=15), seconds=100)
    missed = (LADDER[0], rung("r2-int8", 0.85, 16), LADDER[1])
    _, found = asks(missed, Policy(latency_ms=15), seconds=100, state=state, start_s=100)
    assert found == [(100, Constraints(latency_ms=15))]


def test_a_drifting_limit_that_binds_nobody_does_not_make_a_new_wish() -> None:
    state, found = GovernorState(), []
    for second in range(400):
        sample = GovernorSample(mono_s=float(second), mem_available_mb=4000.0 - 9 * second, worker_rss_mb=90.0)
        state, decision = decide(state, sample, LADDER, Policy(latency_ms=15))
        found += [decision.ask] if decision.ask else []
    assert found == [Constraints(latency_ms=15)]


def test_the_rung_that_was_asked_for_runs_as_soon_as_it_arrives() -> None:
    state, _ = asks(LADDER, Policy(latency_ms=15), seconds=20)
    cut = (LADDER[0], rung("r2-int8", 0.86, 14.8), LADDER[1])
    state, decision = decide(state, GovernorSample(mono_s=20.0), cut, Policy(latency_ms=15))
    assert decision.rung == "r2-int8"


def test_constraints_are_alike_within_ten_percent_on_the_same_costs() -> None:
    assert alike(Constraints(latency_ms=10), Constraints(latency_ms=10.9), 0.1)
    assert not alike(Constraints(latency_ms=10), Constraints(latency_ms=11.2), 0.1)
    assert not alike(Constraints(latency_ms=10), Constraints(latency_ms=10, memory_mb=5), 0.1)
