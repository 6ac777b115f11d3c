"""From what a device timed to its table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.compiler import digits

from secateur.device_measuring import _files, table_from
from secateur.device_session import DeviceMeasurementError, Target
from secateur.device_tables import TimedFile, UnderWay
from secateur.measuring import what_to_time
from secateur.search.latency_table import decode_table, encode_table
from secateur_profiles import load

PROFILE = load("linux-x86-64")
TARGET = Target("board-1", PROFILE, "fp32", "1.23.2", Path("t.json"))


def known(sizes: list[int], **changes: TimedFile) -> UnderWay:
    """Every file takes a millisecond and a nanosecond for each of its bytes."""
    files = {str(n): TimedFile(p50_ms=1 + 1e-6 * size, p95_ms=2 + 1e-6 * size) for n, size in enumerate(sizes)}
    return UnderWay(measurement="m", rounds=9, machine="a board", files=files | changes)


@pytest.fixture(scope="module")
def timed() -> tuple[Any, list[str], list[int]]:
    wanted = what_to_time(PROFILE, "fp32", digits.network())
    sizes = [len(data) for data, _ in _files(wanted, "onnxruntime")]
    return wanted, [str(n) for n in range(len(sizes))], sizes


def test_a_devices_table_is_under_its_own_key(timed: Any) -> None:
    wanted, order, sizes = timed
    assert len(order) == 2 * len(wanted.probes) + len(wanted.keeps)
    table = table_from(wanted, order, known(sizes), TARGET)
    assert decode_table(encode_table(table), "t") == table
    key = table.key
    assert (key.device, key.machine, key.runtime_version, key.threads) == ("board-1", "a board", "1.23.2", 1)
    assert table.calibration.checked == len(wanted.keeps)
    assert not any(point.slowed for entry in table.entries for point in entry.points)


def test_throttled_points_are_marked_and_what_could_not_be_timed_is_left_out(timed: Any) -> None:
    wanted, order, sizes = timed
    full = table_from(wanted, order, known(sizes), TARGET)
    lost, hot = TimedFile(error="not enough memory"), TimedFile(p50_ms=1.0, p95_ms=1.1, slowed=True)
    table = table_from(wanted, order, known(sizes, **{"0": hot, "2": lost, order[-1]: lost}), TARGET)

    def points(of: Any) -> list[Any]:
        return [point for entry in of.entries for point in entry.points]

    assert any(point.slowed for point in points(table))
    assert not all(point.slowed for point in points(table))
    assert len(points(table)) < len(points(full))
    assert table.calibration.checked == len(wanted.keeps) - 1


def test_a_device_that_could_time_nothing_is_one_line(timed: Any) -> None:
    wanted, order, _ = timed
    nothing = UnderWay(measurement="m", rounds=9, files={"0": TimedFile(error="not enough memory")})
    with pytest.raises(DeviceMeasurementError, match="board-1: no operator could be timed: not enough memory"):
        table_from(wanted, order, nothing, TARGET)
