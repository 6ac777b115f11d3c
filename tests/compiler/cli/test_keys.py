from __future__ import annotations

import json
from pathlib import Path

import pytest

from secateur.bundle.keys import load_keys
from secateur.cli import build_app
from secateur.cli.errors import run


def test_keys_are_made_once_and_shown_without_secrets(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "keys"
    assert run(build_app(), ["keys", "init", "--keys", str(folder)]) == 0
    assert run(build_app(), ["keys", "init", "--keys", str(folder)]) == 1
    assert "there are keys already" in capsys.readouterr().err
    assert run(build_app(), ["keys", "show", "--keys", str(folder), "--json"]) == 0
    shown = capsys.readouterr().out
    assert set(json.loads(shown)["roles"]) == {"bundle", "recut", "command"}
    for key in load_keys(folder).signing:
        assert (folder / f"{key}.key").read_text().strip() not in shown


def test_a_key_that_is_kept_elsewhere_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "keys"
    run(build_app(), ["keys", "init", "--keys", str(folder)])
    (folder / "bundle.key").unlink()
    assert run(build_app(), ["keys", "show", "--keys", str(folder)]) == 0
    assert "kept elsewhere" in capsys.readouterr().out


def test_the_trust_root_is_printed_for_a_device(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "keys"
    run(build_app(), ["keys", "init", "--keys", str(folder)])
    capsys.readouterr()
    run(build_app(), ["keys", "show", "--keys", str(folder), "--root"])
    assert capsys.readouterr().out == (folder / "root.json").read_text()


def test_missing_keys_are_one_line_that_says_how_to_make_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(build_app(), ["keys", "show", "--keys", str(tmp_path)]) == 1
    assert "secateur keys init" in capsys.readouterr().err
