"""Setting the clock of a board without a clock chip, before anything compares a certificate with it."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secateur_agent import system_clock
from secateur_agent.system_clock import LATEST_S, RELEASE_FLOOR_S, floor_s, main, saved_s, set_if_behind

LATE_S = 1_790_000_000.0


def test_a_clock_in_1970_is_set_to_the_latest_time_that_is_known(tmp_path: Path) -> None:
    """No clock chip: 1970, certificates "not yet valid" (iotedge#4062)."""
    (tmp_path / "clock").write_text("1780000000\n")
    (tmp_path / "flashed").write_text(f"{LATE_S}\n")
    floor = floor_s([tmp_path / "clock", tmp_path / "flashed", tmp_path / "none"])
    assert floor == LATE_S
    set_to: list[float] = []
    assert set_if_behind(floor, now=lambda: 12.0, set_time=set_to.append)
    assert set_to == [LATE_S]


def test_a_clock_that_may_be_right_is_left_alone() -> None:
    set_to: list[float] = []
    assert not set_if_behind(LATE_S, now=lambda: LATE_S, set_time=set_to.append)
    assert set_to == []


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


def test_a_clock_that_may_not_be_set_is_told_and_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In a container, say: the agent has to start all the same."""

    def refuse(clock: int, wall_s: float) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr("time.clock_settime", refuse)
    (tmp_path / "clock").write_text(f"{LATEST_S - 1}")
    assert main([str(tmp_path / "clock")]) == 0
    assert "cannot be set: Operation not permitted" in capsys.readouterr().err


def test_it_runs_as_a_module_without_changing_a_right_clock() -> None:
    ended = subprocess.run([sys.executable, "-m", "secateur_agent.system_clock"], capture_output=True, text=True, check=True)
    assert (ended.stdout, ended.stderr) == ("", "")


def test_it_needs_the_standard_library_alone() -> None:
    """It runs as root at each boot, before the environment of the agent has proved itself."""
    tree = ast.parse(Path(system_clock.__file__).read_text())
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    names |= {str(node.module).split(".")[0] for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert names <= set(sys.stdlib_module_names)
