from __future__ import annotations

import json
from pathlib import Path

import pytest

import secateur_profiles
from secateur.cli import build_app
from secateur.cli.errors import run


def test_the_built_in_profiles_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(build_app(), ["profiles", "list"]) == 0
    printed = capsys.readouterr().out
    for name in secateur_profiles.names():
        assert name in printed


def test_a_profile_is_shown_with_the_source_of_each_number(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(build_app(), ["profiles", "show", "raspberry-pi-4b"]) == 0
    printed = capsys.readouterr().out
    assert "cpu.clock_mhz" in printed
    assert run(build_app(), ["profiles", "show", "raspberry-pi-4b", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["name"] == "raspberry-pi-4b"


def test_a_wrong_profile_is_told_by_file_key_and_reason(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wrong = tmp_path / "mine.toml"
    wrong.write_text('name = "mine"\ntitle = 3\n')
    assert run(build_app(), ["profiles", "check", str(wrong)]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) > 1
    assert all(line.startswith(f"secateur: {wrong}: ") for line in lines)
    assert any(": title: " in line for line in lines)


def test_an_unknown_profile_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(build_app(), ["profiles", "show", "raspberry-pi-4c"]) == 1
    written = capsys.readouterr().err
    assert "did you mean" in written
    assert written.count("\n") == 1
