"""What the governor remembers between samples."""

from __future__ import annotations

import pytest

from secateur_agent.governor.tracking import advance
from secateur_agent.governor.types import GovernorSample, GovernorState, Standing, rebase
from secateur_agent.protocol.messages import Constraints, Policy


def follow(rates_hz: list[float], policy: Policy | None = None) -> GovernorState:
    state = GovernorState()
    for second, rate_hz in enumerate(rates_hz):
        state = advance(state, GovernorSample(mono_s=float(second), request_rate_hz=rate_hz), (), policy or Policy())
    return state


def test_expected_traffic_starts_with_the_first_request() -> None:
    assert follow([0.0] * 100).expected_rate_hz is None
    assert follow([0.0] * 100 + [7.0]).expected_rate_hz == 7.0


def test_expected_traffic_is_the_mean_of_what_alternates() -> None:
    assert follow([4.0, 16.0] * 200, Policy(horizon_s=4000)).expected_rate_hz == pytest.approx(10, abs=0.5)


def test_expected_traffic_becomes_the_present_rate_towards_the_deadline() -> None:
    assert follow([4.0] * 190 + [16.0] * 9, Policy(horizon_s=200)).expected_rate_hz == pytest.approx(16, abs=1)


def test_the_reserve_is_a_share_of_the_full_battery_or_else_of_the_first_energy_seen() -> None:
    state = advance(GovernorState(), GovernorSample(mono_s=0, battery_energy_mwh=800), (), Policy())
    state = advance(state, GovernorSample(mono_s=1, battery_energy_mwh=700), (), Policy())
    assert state.battery_reference_mwh == 800
    full = GovernorSample(mono_s=2, battery_energy_mwh=600, battery_full_mwh=1000)
    assert advance(state, full, (), Policy()).battery_reference_mwh == 1000


def test_rebase_moves_every_time_and_keeps_what_was_left() -> None:
    before = GovernorState(
        mono_s=1000,
        switched_s=990,
        deadline_s=1500,
        traffic_since_s=10,
        standing={"r0-int8": Standing(fits_s=995.0)},
        wish=Constraints(latency_ms=5),
        wish_since_s=998,
        asked_s=900.0,
    )
    after = rebase(before, 3.0)
    assert (after.mono_s, after.switched_s, after.deadline_s, after.traffic_since_s) == (3, -7, 503, -987)
    assert after.standing == {"r0-int8": Standing(fits_s=-2.0)}
    assert (after.wish_since_s, after.asked_s) == (1, -97)
