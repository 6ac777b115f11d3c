"""What the governor is told: throttling, request rate, and its own past."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from tests.bundle_factory import make_bundle

from secateur.bundle.keys import create_keys
from secateur_agent.bundle.manifest import open_manifest
from secateur_agent.governing import Governing, RequestRate, governor_sample, throttle_factor
from secateur_agent.governor import GovernorState
from secateur_agent.installed_ladder import InstalledLadder
from secateur_agent.protocol.messages import Policy, Reading
from secateur_profiles import load

PROFILE = load("raspberry-pi-4b")
HOT_C = PROFILE.thermal.throttle_c


def readings(**values: float | None) -> dict[str, Reading]:
    return {
        name: Reading(value, "", "test", "unavailable" if value is None else "measured") for name, value in values.items()
    }


@pytest.mark.parametrize(
    ("values", "factor"),
    [
        ({}, 1.0),
        ({"cpu_freq_mhz": 600.0, "cpu_freq_max_mhz": 1800.0}, 1.0),
        ({"cpu_freq_mhz": 600.0, "cpu_freq_max_mhz": 1800.0, "temperature_c": HOT_C - 1}, 1.0),
        ({"cpu_freq_mhz": 600.0, "cpu_freq_max_mhz": 1800.0, "temperature_c": HOT_C}, 3.0),
        ({"cpu_freq_mhz": 900.0, "cpu_freq_max_mhz": 1800.0, "throttled_now": 1.0}, 2.0),
        ({"cpu_freq_mhz": 900.0, "cpu_freq_max_mhz": 1800.0, "throttled_now": 0.0}, 1.0),
        ({"cpu_freq_mhz": 600.0, "cpu_freq_limit_mhz": 1200.0, "cpu_freq_max_mhz": 1800.0, "throttled_now": 1.0}, 1.5),
        ({"cpu_freq_mhz": None, "cpu_freq_max_mhz": 1800.0, "throttled_now": 1.0}, 1.0),
    ],
)
def test_a_low_clock_counts_only_while_the_board_throttles(values: dict[str, float | None], factor: float) -> None:
    assert throttle_factor(readings(**values), PROFILE) == pytest.approx(factor)


def test_what_is_unavailable_stays_unknown() -> None:
    """One missing file kills the service (jetson_stats#484): here it is one unknown value."""
    sample = governor_sample({}, PROFILE, 1.0, 0.0, None, "")
    assert sample.mem_available_mb is None
    assert sample.battery_charging is None
    assert sample.throttle == 1.0
    charging = governor_sample(readings(battery_charging=0.0, battery_energy_mwh=12.5), PROFILE, 1.0, 0.0, None, "")
    assert charging.battery_charging is False
    assert charging.battery_energy_mwh == 12.5


def test_the_request_rate_follows_and_fades() -> None:
    rate = RequestRate()
    for second in range(60):
        rate.update(float(second), 20 * second)
    assert rate.hz == pytest.approx(20, rel=0.01)
    for second in range(60, 200):
        rate.update(float(second), 20 * 59)
    assert rate.hz == 0.0


def test_the_horizon_goes_on_over_a_restart(tmp_path: Path) -> None:
    keys = create_keys(tmp_path / "keys")
    bundle = make_bundle(tmp_path, keys)
    manifest = open_manifest(keys.root, (bundle / "manifest.json").read_bytes())
    ladder = InstalledLadder(manifest, "a" * 64, tmp_path)
    policy = Policy(horizon_s=3600)

    def decide(governing: Governing, mono_s: float) -> GovernorState:
        governing.take_ladder(ladder, (), ())
        decision = governing.decide(governor_sample({}, PROFILE, mono_s, 0.0, None, ""), policy)
        assert decision is not None
        assert decision.rung == "r0-fp32"
        return msgspec.json.decode((tmp_path / "g.json").read_bytes())["state"]  # type: ignore[no-any-return]

    first = decide(Governing(tmp_path / "g.json", PROFILE, 100.0), 100.0)
    second = decide(Governing(tmp_path / "g.json", PROFILE, 700.0), 700.0)
    assert first["deadline_s"] == second["deadline_s"] == 3700.0  # type: ignore[index]


def test_a_banned_rung_is_not_chosen_and_no_ladder_gives_no_decision(tmp_path: Path) -> None:
    keys = create_keys(tmp_path / "keys")
    bundle = make_bundle(tmp_path, keys)
    manifest = open_manifest(keys.root, (bundle / "manifest.json").read_bytes())
    governing = Governing(tmp_path / "g.json", PROFILE, 0.0)
    sample = governor_sample({}, PROFILE, 1.0, 0.0, None, "")
    assert governing.decide(sample, Policy()) is None
    governing.take_ladder(InstalledLadder(manifest, "a" * 64, tmp_path), (), {"r0-fp32"})
    decision = governing.decide(sample, Policy())
    assert decision is not None
    assert decision.rung == "r1-fp32"
    assert governing.rungs == ("r1-fp32", "r2-fp32")
