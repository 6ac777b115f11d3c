"""``secateur tables`` and ``--measured-on``: what they print, and one line for what is not there."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.compiler.tables import table_of

from secateur.cli import build_app
from secateur.cli.errors import run
from secateur.device_tables import finish, table_path
from secateur.ir import Signature, SizedOperator
from secateur_profiles import load

PROFILE = load("raspberry-pi-4b")


@pytest.fixture(autouse=True)
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, folder in {"XDG_DATA_HOME": "share", "XDG_CONFIG_HOME": "config", "SECATEUR_STATE": "state"}.items():
        monkeypatch.setenv(name, str(tmp_path / folder))


def secateur(*arguments: object) -> int:
    return run(build_app(), [str(argument) for argument in arguments])


def stored(device: str = "pi-1") -> Path:
    threads = PROFILE.runtime.threads
    operators = [SizedOperator(Signature("Linear"), 8, 8)]
    table = table_of(operators, lambda _: 1e-3, device=device, threads=threads, machine="aarch64, a board")
    path = table_path(device, PROFILE.name, "onnxruntime", table.key.runtime_version, "fp32", threads)
    finish(path, table)
    return path


def test_tables_are_listed_shown_and_adopted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert secateur("tables", "list") == 0
    assert "no table is stored yet" in capsys.readouterr().out
    stored()
    assert secateur("tables", "list") == 0
    assert "--measured-on pi-1" in capsys.readouterr().out
    assert secateur("tables", "show", "pi-1") == 0
    assert "1 kinds of operator at 1 widths" in capsys.readouterr().out
    assert secateur("tables", "adopt", "pi-1") == 0
    assert "raspberry-pi-4b in fp32 is planned from pi-1" in capsys.readouterr().out
    assert secateur("tables", "list", "--json") == 0
    assert {each["shared"] for each in json.loads(capsys.readouterr().out)} == {True, False}


COMPILE = ["compile", "net.onnx", "--task", "x.npz", "-o", "o", "--measured-on", "pi-1", "--profile"]


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["tables", "show", "pi-2"], "device pi-2: no table is stored here"),
        (["tables", "show", "../x"], "use 1 to 64 letters"),
        (["tables", "adopt", "pi-2"], "device pi-2: no table is stored here"),
        (["tables", "adopt", "pi-1", "--precision", "int8"], "no table in int8"),
        ([*COMPILE, "linux-x86-64"], "is measured as raspberry-pi-4b, not as linux-x86-64"),
        ([*COMPILE, "raspberry-pi-4b", "--precision", "int8"], "is for precision fp32, not int8"),
        (["measure"], "name a DEVICE"),
        (["measure", "pi-1", "-o", "t.json"], "-o goes with --profile"),
        (["measure", "pi-1"], "secateur serve"),
    ],
)
def test_wrong_use_is_one_line(capsys: pytest.CaptureFixture[str], arguments: list[str], reason: str) -> None:
    stored()
    assert secateur(*arguments) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert reason in line
