"""Where the demonstration lets a latency objective fall."""

from __future__ import annotations

import pytest

from secateur.demo.processes import DemoError
from secateur.demo.scenario import widest_gap


def measured(**latency_ms: float) -> dict[str, dict[str, float]]:
    return {rung: {"latency_p50_ms": value} for rung, value in latency_ms.items()}


def test_between_the_neighbours_that_differ_most_in_accuracy() -> None:
    found = measured(r0=0.4, r1=0.3, r2=0.2)
    assert widest_gap(found, {"r0": 0.90, "r1": 0.89, "r2": 0.80}) == ("r1", "r2")
    assert widest_gap(found, {"r0": 0.90, "r1": 0.82, "r2": 0.80}) == ("r0", "r1")


def test_a_faster_rung_that_is_more_accurate_bounds_the_gap() -> None:
    # r1 is worse than r2 although it is slower: a limit above r2 leaves r2, so the gap that counts is r0 to r2.
    found = measured(r0=0.4, r1=0.3, r2=0.2)
    assert widest_gap(found, {"r0": 0.90, "r1": 0.80, "r2": 0.85}) == ("r0", "r2")


def test_no_gap_is_one_clear_line() -> None:
    with pytest.raises(DemoError, match="no gap"):
        widest_gap(measured(r0=0.4, r1=0.3), {"r0": 0.9, "r1": 0.9})
