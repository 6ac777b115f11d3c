"""A switch overlaps where both rungs fit into the memory, and replaces where they do not."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.agent.governor.test_policy import LADDER, run

from secateur_agent.governor import GovernorSample, GovernorSettings
from secateur_agent.governor.switch_mode import choose_switch
from secateur_agent.protocol.messages import Policy

MARGIN_MB = GovernorSettings().memory_margin_mb


def sample(second: float, free_mb: float | None, rss_mb: float | None, **more: float) -> GovernorSample:
    return GovernorSample(mono_s=second, mem_available_mb=free_mb, worker_rss_mb=rss_mb, runtime_base_mb=50, **more)


def test_a_critical_squeeze_replaces_and_the_evidence_says_why() -> None:
    decisions = run([sample(0, 300, 0), sample(1, 20, 200), sample(2, 90, 110)], Policy())
    assert [(d.rung, d.switch, d.changed) for d in decisions] == [
        ("r0-int8", "overlap", True),
        ("r1-int8", "replace", True),
        ("r1-int8", "overlap", False),
    ]
    told = decisions[1]
    assert "the worker is replaced: r1-int8 needs 100 MB beside the rung before, 0 are spare" in told.reason
    assert told.evidence["switch"] == {
        "mode": "replace",
        "needs_mb": 100,
        "spare_mb": 0,
        "why": f"available - {MARGIN_MB:g} MB margin",
    }
    json.dumps(told.evidence)


def test_a_step_down_with_room_for_both_overlaps() -> None:
    decisions = run([sample(0, 300, 0), sample(1, 300, 200, throttle=2.0)], Policy(latency_ms=30))
    assert (decisions[1].rung, decisions[1].switch) == ("r1-int8", "overlap")
    assert decisions[1].evidence["switch"]["mode"] == "overlap"


def test_an_objective_for_memory_alone_does_not_replace() -> None:
    decisions = run([sample(0, 4000, 0), sample(1, 4000, 200, throttle=2.0)], Policy(memory_mb=200, latency_ms=30))
    assert (decisions[1].rung, decisions[1].switch) == ("r1-int8", "overlap")


@pytest.mark.parametrize(
    ("free_mb", "rss_mb", "mode"),
    [(None, 200, "overlap"), (MARGIN_MB, 0, "overlap"), (MARGIN_MB, None, "replace"), (MARGIN_MB, 200, "replace")],
)
def test_what_is_unknown_does_not_replace_and_neither_does_a_switch_with_nothing_in_memory(
    free_mb: float | None, rss_mb: float | None, mode: str
) -> None:
    assert choose_switch(sample(0, free_mb, rss_mb), LADDER[1], GovernorSettings()).mode == mode


def test_stalled_memory_counts_for_less() -> None:
    roomy = sample(0, MARGIN_MB + 120, 200)
    stalled = sample(0, MARGIN_MB + 120, 200, psi_memory_some=40.0)
    assert choose_switch(roomy, LADDER[1], GovernorSettings()).mode == "overlap"
    assert choose_switch(stalled, LADDER[1], GovernorSettings()).mode == "replace"


@given(st.floats(0, 1000), st.floats(0, 1000))
def test_more_free_memory_never_turns_an_overlap_into_a_replacement(low_mb: float, more_mb: float) -> None:
    first, second = (
        choose_switch(sample(0, free_mb, 200), LADDER[1], GovernorSettings()).mode for free_mb in (low_mb, low_mb + more_mb)
    )
    assert (first, second) != ("overlap", "replace")
