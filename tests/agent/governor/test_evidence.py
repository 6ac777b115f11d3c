"""The record and the words of a decision."""

from __future__ import annotations

import msgspec

from secateur_agent.governor import GovernorSample, GovernorState, RungModel, decide
from secateur_agent.protocol.messages import Event, Policy

RUNG = RungModel(
    id="r0-int8",
    precision="int8",
    accuracy=0.9,
    latency_ms=12.3456789,
    latency_source="measured",
    peak_mb=100.0,
    energy_mj=5.0,
    energy_source="estimated",
)


def test_evidence_travels_in_an_event_and_is_small() -> None:
    sample = GovernorSample(mono_s=0, mem_available_mb=50, worker_rss_mb=60, throttle=2.0)
    _, decision = decide(GovernorState(), sample, (RUNG,), Policy(latency_ms=20))
    event = Event(boot="b", kind="decision", wall_s=0.0, text=decision.reason, evidence=decision.evidence)
    data = msgspec.json.encode(event)
    assert msgspec.json.decode(data, type=Event) == event
    assert len(data) < 1200


def test_evidence_holds_readings_limits_with_origin_and_costs_with_misses() -> None:
    sample = GovernorSample(mono_s=0, mem_available_mb=50, worker_rss_mb=60, throttle=2.0)
    _, decision = decide(GovernorState(), sample, (RUNG,), Policy(latency_ms=20))
    record = decision.evidence
    assert record["readings"]["throttle"] == 2.0
    assert "psi_memory_some" in record["readings"]["unknown"]
    assert record["limits"]["latency_ms"] == {"limit": 10.0, "why": "objective 20 ms / throttle 2"}
    assert record["limits"]["energy_mj"] == {"limit": None, "why": "no horizon"}
    assert record["rungs"]["r0-int8"] == {
        "accuracy": 0.9,
        "latency_ms": 12.35,
        "memory_mb": 100.0,
        "energy_mj": 5.0,
        "misses": ["memory", "latency"],
    }


def test_the_reason_says_each_miss_with_its_numbers() -> None:
    sample = GovernorSample(mono_s=0, mem_available_mb=50, worker_rss_mb=60, throttle=2.0)
    _, decision = decide(GovernorState(), sample, (RUNG,), Policy(latency_ms=20))
    assert decision.reason == (
        "nothing is feasible; the least bad misses memory (100 MB, 78 fit) and latency (12.3 ms unthrottled, 10 allowed)"
    )
