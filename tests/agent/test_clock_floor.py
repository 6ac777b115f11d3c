"""The time before which it cannot be."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from secateur_agent.clock_floor import LATEST_S, RELEASE_FLOOR_S, floor_s, saved_s

LATE_S = 1_790_000_000.0


def test_the_latest_time_that_is_known_counts(tmp_path: Path) -> None:
    (tmp_path / "clock").write_text("1780000000\n")
    (tmp_path / "flashed").write_text(f"{LATE_S}\n")
    assert floor_s([tmp_path / "clock", tmp_path / "flashed", tmp_path / "none"]) == LATE_S


def test_without_any_file_it_cannot_be_earlier_than_this_version(tmp_path: Path) -> None:
    assert floor_s([]) == floor_s([tmp_path / "none"]) == RELEASE_FLOOR_S


@given(st.binary(max_size=60))
def test_whatever_a_file_holds_the_floor_is_between_release_and_2100(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "clock"
        path.write_bytes(content)
        assert RELEASE_FLOOR_S <= floor_s([path]) <= LATEST_S


def test_root_follows_no_link_and_waits_for_no_pipe_in_a_folder_of_another_user(tmp_path: Path) -> None:
    (tmp_path / "right").write_text(f"{LATE_S}")
    (tmp_path / "link").symlink_to(tmp_path / "right")
    os.mkfifo(tmp_path / "pipe")
    for name in ("link", "pipe", "."):
        assert saved_s(tmp_path / name) == 0.0
