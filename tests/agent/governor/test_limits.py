"""Readings and objectives become limits; what is unknown limits nothing and says so."""

from __future__ import annotations

import math

import msgspec
import pytest

from secateur_agent.governor.limits import limits_now
from secateur_agent.governor.types import GovernorSample, GovernorState
from secateur_agent.protocol.messages import Policy

STATE = GovernorState()


def test_latency_objective_is_divided_by_the_throttle_factor() -> None:
    limits = limits_now(GovernorSample(mono_s=0, throttle=2.0), Policy(latency_ms=20), STATE)
    assert limits.latency_ms.value == 10


@pytest.mark.parametrize("throttle", [0.5, 0.0, -1.0, math.nan, math.inf])
def test_a_throttle_factor_that_cannot_be_is_taken_as_unthrottled(throttle: float) -> None:
    limits = limits_now(GovernorSample(mono_s=0, throttle=throttle), Policy(latency_ms=20), STATE)
    assert limits.latency_ms.value == 20


def test_the_workers_own_memory_counts_as_free() -> None:
    sample = GovernorSample(mono_s=0, mem_available_mb=100, worker_rss_mb=80)
    assert limits_now(sample, Policy(), STATE).memory_mb.value == 100 + 80 - 32


def test_the_tightest_of_system_cgroup_and_objective_limits_memory() -> None:
    sample = GovernorSample(mono_s=0, mem_available_mb=1000, cgroup_headroom_mb=100, worker_rss_mb=80)
    assert limits_now(sample, Policy(), STATE).memory_mb.why.startswith("cgroup")
    limit = limits_now(sample, Policy(memory_mb=90), STATE).memory_mb
    assert (limit.value, limit.why) == (90, "objective")


def test_memory_pressure_makes_free_memory_count_for_less() -> None:
    calm = GovernorSample(mono_s=0, mem_available_mb=132, worker_rss_mb=50, psi_memory_some=9.0)
    stalled = GovernorSample(mono_s=0, mem_available_mb=132, worker_rss_mb=50, psi_memory_some=40.0)
    assert limits_now(calm, Policy(), STATE).memory_mb.value == 150
    assert limits_now(stalled, Policy(), STATE).memory_mb.value == 75


@pytest.mark.parametrize(
    "sample",
    [
        GovernorSample(mono_s=0),
        GovernorSample(mono_s=0, mem_available_mb=10),
        GovernorSample(mono_s=0, mem_available_mb=math.nan, worker_rss_mb=10),
    ],
)
def test_unknown_memory_is_not_zero_memory(sample: GovernorSample) -> None:
    limit = limits_now(sample, Policy(), STATE).memory_mb
    assert (limit.value, limit.why) == (None, "unknown")


def battery(**changes: object) -> GovernorSample:
    values = {"mono_s": 0.0, "battery_energy_mwh": 1100.0, "battery_charging": False, "idle_mw": 500.0}
    return GovernorSample(**{**values, **changes})  # type: ignore[arg-type]


LASTING = Policy(horizon_s=3600, battery_reserve_percent=10)
ONGOING = GovernorState(horizon_s=3600, deadline_s=3600, battery_reference_mwh=1000, expected_rate_hz=10)


def test_energy_limit_spends_the_battery_less_its_reserve_over_the_time_left() -> None:
    # (1100 − 100) mWh in one hour = 1000 mW; less 500 idle = 500 mJ per second for 10 requests
    assert limits_now(battery(), LASTING, ONGOING).energy_mj.value == pytest.approx(50)


def test_energy_limit_is_negative_when_idling_alone_would_empty_the_battery() -> None:
    value = limits_now(battery(idle_mw=2000.0), LASTING, ONGOING).energy_mj.value
    assert value is not None
    assert value < 0


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"battery_charging": True}, "charging"),
        ({"battery_charging": None}, "unknown"),
        ({"battery_energy_mwh": None}, "unknown"),
        ({"idle_mw": None}, "unknown"),
        ({"mono_s": 3600.0}, "horizon reached"),
    ],
)
def test_the_battery_does_not_bind_when(changes: dict[str, object], why: str) -> None:
    limit = limits_now(battery(**changes), LASTING, ONGOING).energy_mj
    assert (limit.value, limit.why) == (None, why)


def test_the_battery_does_not_bind_without_a_horizon() -> None:
    assert limits_now(battery(), Policy(), STATE).energy_mj.value is None


@pytest.mark.parametrize("rate_hz", [None, 0.0])
def test_the_battery_does_not_bind_while_nothing_is_inferred(rate_hz: float | None) -> None:
    state = msgspec.structs.replace(ONGOING, expected_rate_hz=rate_hz)
    assert limits_now(battery(), LASTING, state).energy_mj.why == "no requests"
