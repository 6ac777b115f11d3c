"""Which rung the governor picks, and that it stays calm."""

from __future__ import annotations

import itertools

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secateur_agent.governor import Decision, GovernorSample, GovernorState, RungModel, decide
from secateur_agent.protocol.messages import Policy


def rung(name: str, accuracy: float, latency_ms: float, peak_mb: float, energy_mj: float) -> RungModel:
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


LADDER = (
    rung("r0-int8", 0.91, 20, 200, 60),
    rung("r1-int8", 0.89, 12, 150, 36),
    rung("r2-int8", 0.85, 7, 120, 21),
    rung("r3-int8", 0.77, 4, 100, 12),
)
IDS = [rung.id for rung in LADDER]
RANK = {name: rank for rank, name in enumerate(IDS)}


def run(
    samples: list[GovernorSample],
    policy: Policy,
    state: GovernorState | None = None,
    ladder: tuple[RungModel, ...] = LADDER,
) -> list[Decision]:
    state, decisions = state or GovernorState(), []
    for sample in samples:
        state, decision = decide(state, sample, ladder, policy)
        decisions.append(decision)
    return decisions


def throttled(factors: list[float]) -> list[GovernorSample]:
    return [GovernorSample(mono_s=float(second), throttle=factor) for second, factor in enumerate(factors)]


def switches(decisions: list[Decision]) -> list[tuple[int, str]]:
    return [(second, decision.rung) for second, decision in enumerate(decisions) if decision.changed]


def test_with_nothing_known_and_nothing_asked_the_most_accurate_rung_runs() -> None:
    assert run([GovernorSample(mono_s=0)], Policy())[0].rung == "r0-int8"


def test_starts_at_once_on_the_most_accurate_feasible_rung() -> None:
    assert run([GovernorSample(mono_s=0)], Policy(latency_ms=12.1))[0].rung == "r1-int8"


def test_steps_down_at_once_and_says_why() -> None:
    decisions = run(throttled([1, 1, 1.6]), Policy(latency_ms=20))
    assert switches(decisions) == [(0, "r0-int8"), (2, "r1-int8")]
    assert decisions[2].reason == "down: r0-int8 misses latency (20 ms unthrottled, 12.5 allowed)"
    assert decisions[2].evidence["rungs"]["r0-int8"]["misses"] == ["latency"]


def test_climbs_only_after_the_slack_has_lasted() -> None:
    decisions = run(throttled([1.6] + [1.0] * 20), Policy(latency_ms=22.5))
    assert switches(decisions) == [(0, "r1-int8"), (11, "r0-int8")]


def test_a_rung_that_meets_a_fixed_limit_without_slack_is_reached_in_the_end() -> None:
    decisions = run(throttled([1.6] + [1.0] * 80), Policy(latency_ms=20.5))
    assert switches(decisions) == [(0, "r1-int8"), (61, "r0-int8")]


def test_one_bad_reading_starts_the_wait_again() -> None:
    decisions = run(throttled([1.6] + [1.0] * 8 + [1.6] + [1.0] * 20), Policy(latency_ms=22.5))
    assert switches(decisions) == [(0, "r1-int8"), (20, "r0-int8")]


def test_memory_comes_first_when_nothing_is_feasible() -> None:
    sample = GovernorSample(mono_s=0, mem_available_mb=42, worker_rss_mb=120)
    fast_but_big = (rung("r0-fp32", 0.9, 1, 300, 1), rung("r1-int8", 0.8, 50, 120, 1))
    decision = run([sample], Policy(latency_ms=10), ladder=fast_but_big)[0]
    assert decision.rung == "r1-int8"
    assert decision.reason.startswith("nothing is feasible")
    assert "latency (50 ms" in decision.reason


def test_a_battery_that_idling_alone_empties_gets_the_smallest_consumer() -> None:
    sample = GovernorSample(mono_s=0, battery_energy_mwh=10, battery_charging=False, idle_mw=5000, request_rate_hz=1)
    decision = run([sample], Policy(horizon_s=3600))[0]
    assert decision.rung == "r3-int8"
    assert decision.ask is None


def test_running_out_of_memory_overrides_the_dwell_even_upwards() -> None:
    ladder = (rung("r0-int8", 0.9, 20, 100, 1), rung("r0-fp32", 0.8, 10, 300, 1))
    samples = [
        GovernorSample(mono_s=0, throttle=2.0, mem_available_mb=500, worker_rss_mb=0),
        GovernorSample(mono_s=1, throttle=1.0, mem_available_mb=30, worker_rss_mb=150),
    ]
    assert [d.rung for d in run(samples, Policy(latency_ms=20), ladder=ladder)] == ["r0-fp32", "r0-int8"]


def test_while_the_worker_is_replaced_nothing_goes_up() -> None:
    """What it holds is unknown then, so memory limits nothing; the board would climb back in the middle of a step down."""
    ladder = (rung("r0-int8", 0.9, 20, 120, 1), rung("r1-int8", 0.8, 10, 60, 1))
    tight = GovernorSample(mono_s=0, mem_available_mb=40, worker_rss_mb=100)
    away = [GovernorSample(mono_s=second, mem_available_mb=24) for second in range(1, 40)]
    roomy = [GovernorSample(mono_s=second, mem_available_mb=200, worker_rss_mb=60) for second in range(40, 60)]
    decisions = run([tight, *away, *roomy], Policy(), ladder=ladder)
    assert {decision.rung for decision in decisions[:40]} == {"r1-int8"}
    assert decisions[-1].rung == "r0-int8"


def test_a_pin_wins_and_says_what_it_misses() -> None:
    sample = GovernorSample(mono_s=0, pin="r0-int8", mem_available_mb=50, worker_rss_mb=100)
    decision = run([sample], Policy())[0]
    assert decision.rung == "r0-int8"
    assert decision.reason == "pinned, although it misses memory (200 MB, 118 fit)"


def test_an_unknown_pin_is_named_and_the_governor_decides() -> None:
    decision = run([GovernorSample(mono_s=0, pin="r9-int8")], Policy(latency_ms=15))[0]
    assert decision.rung == "r1-int8"
    assert decision.reason.startswith("pinned rung r9-int8 is not in the ladder; ")


def test_a_rung_that_left_the_ladder_is_replaced_at_once() -> None:
    state, _ = decide(GovernorState(), GovernorSample(mono_s=0), LADDER, Policy())
    _, decision = decide(state, GovernorSample(mono_s=1), LADDER[1:], Policy())
    assert decision.rung == "r1-int8"


def test_an_empty_ladder_is_refused() -> None:
    with pytest.raises(ValueError, match="has no rung"):
        decide(GovernorState(), GovernorSample(mono_s=0), (), Policy())


def test_unknown_readings_are_reported_as_unknown() -> None:
    evidence = run([GovernorSample(mono_s=0)], Policy())[0].evidence
    assert "mem_available_mb" in evidence["readings"]["unknown"]
    assert evidence["limits"]["memory_mb"] == {"limit": None, "why": "unknown"}


def test_the_horizon_counts_from_when_it_was_set_and_survives_other_changes_and_a_reboot() -> None:
    state, _ = decide(GovernorState(), GovernorSample(mono_s=100), LADDER, Policy(horizon_s=1000))
    state, _ = decide(state, GovernorSample(mono_s=300), LADDER, Policy(horizon_s=1000, latency_ms=50))
    assert state.deadline_s == 1100
    state, _ = decide(state, GovernorSample(mono_s=5), LADDER, Policy(horizon_s=1000))
    assert state.deadline_s == 805  # 800 s were left
    state, _ = decide(state, GovernorSample(mono_s=6), LADDER, Policy(horizon_s=50))
    assert state.deadline_s == 56


def test_state_and_decision_survive_json() -> None:
    state, policy = GovernorState(), Policy(latency_ms=15)
    for second in range(30):
        sample = GovernorSample(mono_s=float(second), throttle=1.0 + second % 3)
        again, repeated = decide(msgspec.json.decode(msgspec.json.encode(state), type=GovernorState), sample, LADDER, policy)
        state, decision = decide(state, sample, LADDER, policy)
        assert (again, repeated) == (state, decision)
        assert msgspec.json.decode(msgspec.json.encode(decision), type=Decision) == decision


# --- properties -------------------------------------------------------------------------------------------------------

maybe_mb = st.none() | st.floats(0, 400)
sample_values = st.fixed_dictionaries(
    {
        "mem_available_mb": maybe_mb,
        "cgroup_headroom_mb": maybe_mb,
        "worker_rss_mb": maybe_mb,
        "psi_memory_some": st.none() | st.floats(0, 100),
        "throttle": st.floats(1, 4),
        "request_rate_hz": st.floats(0, 50),
        "battery_energy_mwh": st.none() | st.floats(0, 5000),
        "battery_charging": st.sampled_from([None, False, True]),
        "idle_mw": st.none() | st.floats(0, 2000),
        "pin": st.sampled_from(["", "", "", "r1-int8", "r9-int8"]),
    }
)
steps = st.lists(st.tuples(st.floats(0.1, 30), sample_values), min_size=1, max_size=15)
policies = st.builds(
    Policy,
    latency_ms=st.none() | st.floats(2, 60),
    memory_mb=st.none() | st.floats(50, 300),
    horizon_s=st.sampled_from([0.0, 60.0, 3600.0]),
)


def as_samples(steps: list[tuple[float, dict[str, object]]]) -> list[GovernorSample]:
    samples, now_s = [], 0.0
    for gap_s, values in steps:
        now_s += gap_s
        samples.append(GovernorSample(mono_s=now_s, **values))  # type: ignore[arg-type]
    return samples


@given(steps, policies)
def test_same_inputs_give_the_same_decisions_from_the_ladder(
    steps: list[tuple[float, dict[str, object]]], policy: Policy
) -> None:
    samples = as_samples(steps)
    first, second = run(samples, policy), run(samples, policy)
    assert first == second
    assert {decision.rung for decision in first} <= set(IDS)
    assert all(decision.reason for decision in first)


@given(steps, policies)
def test_a_feasible_rung_runs_whenever_there_is_one(steps: list[tuple[float, dict[str, object]]], policy: Policy) -> None:
    for sample, decision in zip(samples := as_samples(steps), run(samples, policy)):
        misses = {name: costs.get("misses", []) for name, costs in decision.evidence["rungs"].items()}
        if sample.pin != "r1-int8" and not all(misses.values()):
            assert misses[decision.rung] == []


@given(steps, policies)
def test_never_climbs_within_the_dwell_of_a_switch(steps: list[tuple[float, dict[str, object]]], policy: Policy) -> None:
    samples = [msgspec.structs.replace(sample, pin="") for sample in as_samples(steps)]
    switched_s, previous = 0.0, None
    for sample, decision in zip(samples, run(samples, policy)):
        if previous is not None and RANK[decision.rung] < RANK[previous]:
            assert sample.mono_s - switched_s >= 10
        if decision.rung != previous:
            switched_s, previous = sample.mono_s, decision.rung


@settings(max_examples=30)
@given(st.lists(st.floats(0.91, 1.0), min_size=200, max_size=200), st.floats(4.1, 21))
def test_noise_within_the_slack_cannot_make_it_swing(noise: list[float], limit_ms: float) -> None:
    decisions = run(throttled([1 / factor for factor in noise]), Policy(latency_ms=limit_ms))
    climbs = [
        second
        for (second, now), (_, before) in zip(switches(decisions)[1:], switches(decisions))
        if RANK[now] < RANK[before]
    ]
    assert all(b - a >= 60 for a, b in itertools.pairwise(climbs))
    assert len(switches(decisions)) <= 1 + len(LADDER) + 2 * (200 // 60)


@given(steps, sample_values, policies, st.floats(0, 1))
def test_less_memory_never_leads_to_a_larger_rung(
    steps: list[tuple[float, dict[str, object]]], last: dict[str, object], policy: Policy, share: float
) -> None:
    state = GovernorState()
    for sample in as_samples(steps):
        state, _ = decide(state, sample, LADDER, policy)
    more = GovernorSample(mono_s=state.mono_s + 1, **{**last, "pin": ""})  # type: ignore[arg-type]
    if more.mem_available_mb is None:
        return
    less = msgspec.structs.replace(more, mem_available_mb=more.mem_available_mb * share)
    with_more, with_less = (decide(state, sample, LADDER, policy)[1].rung for sample in (more, less))
    assert RANK[with_less] >= RANK[with_more]
