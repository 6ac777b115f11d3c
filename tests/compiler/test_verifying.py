"""A rung that is not faster than a larger one is dropped, with the times that say so."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import pytest
from tests.compiler import compiled

from secateur.assembly import Ladder
from secateur.evaluation import Timing, time_interleaved
from secateur.ir import InfeasibleError
from secateur.verifying import verify_latency


def ladder() -> Ladder:
    """The three float rungs of the shared compilation."""
    made = next(found for found in compiled.result().profiles if found.profile == compiled.GATEWAY)
    return Ladder([replace(rung, measured_ms=math.nan) for rung in made.rungs], {}, b"")


class Scripted:
    """A device that takes what the script says, one list for each time that it is asked."""

    def __init__(self, *script: Sequence[float]) -> None:
        self.script = list(script)

    def __call__(self, files: Sequence[bytes], precision: str, threads: int) -> list[Timing]:
        assert len(files) == 3
        return [Timing(p50, p50, (p50,)) for p50 in self.script.pop(0)]


def test_faster_rungs_stay_and_know_their_latency() -> None:
    found = verify_latency(ladder(), "fp32", 1, "gateway", Scripted([3.0, 2.0, 1.0]))
    assert [rung.measured_ms for rung in found.rungs] == [3.0, 2.0, 1.0]
    assert found.dropped == {}


def test_a_rung_that_is_twice_found_no_faster_is_dropped() -> None:
    found = verify_latency(ladder(), "fp32", 1, "gateway", Scripted([3.0, 3.5, 1.0], [3.1, 3.4, 1.1]))
    assert [rung.entry.id for rung in found.rungs] == ["r0-fp32", "r2-fp32"]
    assert found.dropped == {"r1-fp32": "takes 3.4 ms, measured here, and is no faster than r0-fp32 (3 ms)"}


def test_one_bad_moment_drops_nothing() -> None:
    found = verify_latency(ladder(), "fp32", 1, "gateway", Scripted([3.0, 3.5, 1.0], [3.1, 2.0, 1.1]))
    assert [rung.measured_ms for rung in found.rungs] == [3.0, 2.0, 1.0]


def test_a_rung_must_beat_the_fastest_above_it() -> None:
    found = verify_latency(ladder(), "fp32", 1, "gateway", Scripted([3.0, 1.0, 2.0], [3.0, 1.0, 2.0]))
    assert "no faster than r1-fp32" in found.dropped["r2-fp32"]


def test_a_ladder_without_a_faster_rung_is_infeasible() -> None:
    same = [1.0, 1.0, 1.0]
    with pytest.raises(InfeasibleError, match="infeasible for gateway: no smaller rung is faster"):
        verify_latency(ladder(), "fp32", 1, "gateway", Scripted(same, same))


def test_real_files_can_be_timed() -> None:
    files = [rung.data for rung in ladder().rungs]
    timings = time_interleaved(files, "fp32", rounds=2, round_ms=0.1)
    assert all(timing.p50_ms > 0 for timing in timings)
