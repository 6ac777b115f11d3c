"""Measurements are kept over restarts."""

from __future__ import annotations

from pathlib import Path

from secateur_agent.measurements import Measurements
from secateur_agent.protocol.messages import RungMeasurement


def measured(rung: str, latency_ms: float) -> RungMeasurement:
    return RungMeasurement(rung=rung, latency_p50_ms=latency_ms, latency_p95_ms=latency_ms, peak_rss_mb=50)


def test_the_latest_of_each_rung_is_kept(tmp_path: Path) -> None:
    kept = Measurements(tmp_path / "m.json")
    kept.put("a", [measured("r0-int8", 5), measured("r1-int8", 3)])
    kept.put("a", [measured("r0-int8", 4)])
    kept.put("b", [measured("r0-int8", 9)])
    again = Measurements(tmp_path / "m.json")
    assert [m.latency_p50_ms for m in again.of("a")] == [4, 3]
    again.keep_only({"b"})
    assert Measurements(tmp_path / "m.json").of("a") == ()
    assert len(again.of("b")) == 1


def test_a_damaged_file_begins_anew(tmp_path: Path) -> None:
    (tmp_path / "m.json").write_bytes(b"\0\0\0")
    assert Measurements(tmp_path / "m.json").of("a") == ()
