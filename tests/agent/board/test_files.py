"""Files that root writes and reads where the agent's account, or whoever took it over, may lay traps."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from secateur_agent.board import clock, files
from secateur_agent.board.layout import Layout


def test_a_link_in_the_drafts_place_is_not_followed(tmp_path: Path) -> None:
    """Else the agent's account is given whatever file of root's it names."""
    other = tmp_path / "shadow"
    other.write_text("root's\n")
    (tmp_path / ".token.draft").symlink_to(other)
    files.write(tmp_path / "token", b"token\n", 0o600)
    assert other.read_text() == "root's\n"
    assert (tmp_path / "token").read_bytes() == b"token\n"


def test_a_draft_that_a_power_cut_left_is_replaced(tmp_path: Path) -> None:
    (tmp_path / ".token.draft").write_text("half")
    files.write(tmp_path / "token", b"token\n")
    assert [path.name for path in tmp_path.iterdir()] == ["token"]


def test_a_link_or_a_pipe_is_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to(tmp_path / "file")
    (tmp_path / "file").write_text("12345")
    assert files.read_foreign(tmp_path / "file", 3) == b"123"
    for name in ("pipe", "link", "absent"):
        with pytest.raises(OSError, match=name):
            files.read_foreign(tmp_path / name, 3)


def test_a_pipe_in_place_of_the_clock_does_not_hold_up_the_start(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    layout.state.mkdir(parents=True)
    os.mkfifo(layout.state / "clock")
    assert clock.kept_floor_s(layout) == 0.0
