"""What `secateur flash ssh` wants to know; what it does on a board is in tests/system/test_flash_running_boards.py."""

from __future__ import annotations

from pathlib import Path

import pytest

from secateur.bundle.keys import create_keys
from secateur.cli import build_app
from secateur.cli.errors import run

NOBODY = "cam-1=pi@127.0.0.1:1"


def _said(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    assert run(build_app(), ["flash", "ssh", NOBODY, *map(str, arguments)]) == 1
    return capsys.readouterr().err.splitlines()[-1]


def test_a_return_needs_to_know_neither_profile_nor_broker(capsys: pytest.CaptureFixture[str]) -> None:
    assert "127.0.0.1:1" in _said(capsys, "--rollback"), "it tries to log in"


def test_flashing_says_what_is_missing_before_anybody_logs_in(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    create_keys(tmp_path / "keys")
    assert "--profile NAME" in _said(capsys, "--keys", tmp_path / "keys")
    keys = ("--keys", tmp_path / "keys", "--state", tmp_path / "state")
    assert "--broker-folder" in _said(capsys, *keys, "--profile", "raspberry-pi-4b")
