"""Wall time on a board without a clock chip."""

from __future__ import annotations

from pathlib import Path

import pytest

from secateur_agent.clock import RELEASE_FLOOR_S, WallClock

NOW_S = 1_790_000_000.0


class Time:
    """Clocks in the test's hands."""

    def __init__(self, wall_s: float) -> None:
        self.wall_s = wall_s
        self.mono_s = 10.0

    def open(self, path: Path) -> WallClock:
        return WallClock(path, lambda: self.wall_s, lambda: self.mono_s)


def test_in_1970_time_starts_at_the_release_and_runs_on(tmp_path: Path) -> None:
    """No clock chip: 1970, certificates "not yet valid" (iotedge#4062)."""
    time = Time(3.0)
    clock = time.open(tmp_path / "clock")
    assert clock.now_s() == RELEASE_FLOOR_S
    time.mono_s += 60
    assert clock.now_s() == RELEASE_FLOOR_S + 60


def test_never_goes_below_what_was_saved(tmp_path: Path) -> None:
    time = Time(NOW_S)
    time.open(tmp_path / "clock").keep(force=True)
    after_power_loss = Time(3.0).open(tmp_path / "clock")
    assert after_power_loss.now_s() == NOW_S
    time.wall_s = NOW_S + 5
    assert time.open(tmp_path / "clock").now_s() == NOW_S + 5


def test_is_saved_once_an_hour(tmp_path: Path) -> None:
    time = Time(NOW_S)
    clock = time.open(tmp_path / "clock")
    clock.keep()
    time.wall_s += 1800
    clock.keep()
    assert (tmp_path / "clock").read_bytes() == b"%d\n" % NOW_S
    time.wall_s += 1801
    clock.keep()
    assert (tmp_path / "clock").read_bytes() == b"%d\n" % time.wall_s


def test_a_clock_that_is_far_ahead_does_not_move_the_floor(tmp_path: Path) -> None:
    Time(9e12).open(tmp_path / "clock").keep(force=True)
    assert not (tmp_path / "clock").exists()


@pytest.mark.parametrize("content", [b"", b"nan", b"inf", b"-5", b"\0" * 20, b"1e300", b"text"])
def test_a_damaged_file_is_as_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "clock").write_bytes(content)
    assert Time(3.0).open(tmp_path / "clock").now_s() == RELEASE_FLOOR_S
