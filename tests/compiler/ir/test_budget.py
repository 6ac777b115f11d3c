"""Budgets are read from the command line, or refused by one line."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secateur.ir import Budget, BudgetError, parse_budget


def test_units_are_converted() -> None:
    specs = ["latency=20ms", "memory=1GB", "energy=0.5J", "size=2MB", "accuracy-drop=1.5"]
    assert parse_budget(specs) == Budget(20.0, 1024.0, 500.0, 2048.0, 1.5)
    assert parse_budget(["latency=500us"]).latency_ms == 0.5
    assert parse_budget(["accuracy-drop=2points"]).accuracy_drop == 2.0
    assert parse_budget([]) == Budget()


def test_the_tighter_of_two_holds() -> None:
    assert parse_budget(["latency=20ms", "latency=30ms"]).latency_ms == 20.0
    assert parse_budget(["latency=30ms", "latency=20ms"]).latency_ms == 20.0


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        ("latency", "write KIND=VALUE"),
        ("speed=3ms", "KIND one of latency, memory"),
        ("latency=3kg", "one of ms, s, us"),
        ("latency=20", "one of ms, s, us"),
        ("latency=0ms", "above 0"),
        ("latency=1.2.3ms", "above 0"),
        ("latency=-3ms", "write KIND=VALUE"),
        ("latency=nanms", "write KIND=VALUE"),
        (f"latency={'9' * 400}ms", "above 0"),
    ],
)
def test_what_is_not_a_budget_is_refused(spec: str, reason: str) -> None:
    with pytest.raises(BudgetError, match=reason) as caught:
        parse_budget([spec])
    assert "\n" not in str(caught.value)


@given(st.text(max_size=30) | st.from_regex(r"(latency|memory|size)=[0-9.]{0,9}[a-zA-Z]{0,3}", fullmatch=True))
def test_any_text_is_a_budget_or_refused(spec: str) -> None:
    with contextlib.suppress(BudgetError):
        values = [v for v in vars(parse_budget([spec])).values() if v is not None]
        assert len(values) == 1
        assert 0 < values[0] < float("inf")
