"""``secateur devices enrolments`` and ``forget``, with a controller and without."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from secateur.cli import build_app
from secateur.cli.errors import run
from secateur.fleet.enrolment import open_enrolments, use_token


def test_without_any_state_there_is_no_token_and_none_is_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    state = tmp_path / "state"
    assert run(build_app(), ["devices", "enrolments", "--state", str(state)]) == 0
    assert "no token was made yet" in capsys.readouterr().out
    assert run(build_app(), ["devices", "forget", "pi", "--state", str(state)]) == 1
    assert "no controller has used it" in capsys.readouterr().err
    assert not state.exists()


def test_tokens_are_listed_but_not_shown_and_forgotten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with open_enrolments(tmp_path) as enrolments:
        token = enrolments.create("pi", note="card 3")
        enrolments.create("phone", lifetime_s=None)
        with enrolments._store.write() as connection:
            use_token(connection, enrolments.of("pi")[0], "0123456789abcdef", 1.8e9)
    assert run(build_app(), ["devices", "enrolments", "--state", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert all(each in printed for each in ("0123456789abcdef", "used", "unused", "never", "card 3"))
    assert token not in printed
    assert run(build_app(), ["devices", "enrolments", "--state", str(tmp_path), "--json"]) == 0
    rows = {row["device"]: row for row in json.loads(capsys.readouterr().out)}
    assert (rows["pi"]["status"], rows["pi"]["used_s"], rows["pi"]["keyid"]) == ("used", 1.8e9, "0123456789abcdef")
    assert (rows["phone"]["status"], rows["phone"]["expires_s"], rows["phone"]["used_s"]) == ("unused", None, None)

    assert run(build_app(), ["devices", "forget", "pi", "--state", str(tmp_path)]) == 0
    assert "pi is forgotten: its key, and 1 token\n" in capsys.readouterr().out
    assert run(build_app(), ["devices", "forget", "pi", "--state", str(tmp_path)]) == 1
    assert "neither a key nor a token" in capsys.readouterr().err
