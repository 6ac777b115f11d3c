"""``secateur measure``, and ``secateur compile`` with what it wrote."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from tests.compiler import compiled, digits

from secateur.cli import build_app
from secateur.cli.errors import run
from secateur.cli.measure import _network
from secateur.search.latency_table import read_table


@pytest.fixture(autouse=True)
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "share"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))


def secateur(*arguments: object) -> int:
    return run(build_app(), [str(argument) for argument in arguments])


def test_a_table_for_the_users_own_device_is_built_found_and_used(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """once-for-all#12, #16, #37, #46: "how do I build the latency table for my device?" One command, then compile."""
    np.savez(tmp_path / "digits.npz", **dict(zip(("x_train", "x_test", "y_train", "y_test"), digits.arrays())))
    model, profile = compiled.digits_onnx(), compiled.board_file(compiled.GATEWAY)
    options = ["--profile", profile, "--model", model, "--precision", "fp32", "--rounds", 1, "--json"]
    assert secateur("measure", *options) == 0
    made = json.loads(capsys.readouterr().out)
    path = Path(made["table"])
    assert path == tmp_path / "share" / "secateur" / "latency" / f"{compiled.GATEWAY}-fp32.json"
    assert (made["key"]["profile"], made["key"]["precision"], made["key"]["threads"]) == (compiled.GATEWAY, "fp32", 1)
    table = read_table(path)
    assert made["points"] == sum(len(entry.points) for entry in table.entries) > 20
    compiling = ["compile", model, "--task", tmp_path / "digits.npz", "--profile", profile, "--rungs", 2, "--steps", 0]
    assert secateur(*compiling, "-o", tmp_path / "a", "--json") == 0
    report = json.loads(capsys.readouterr().out)
    assert {rung["latency_source"] for rung in report["profiles"][0]["rungs"]} == {"measured"}
    assert report["notes"] == []
    path.unlink()
    assert secateur(*compiling, "-o", tmp_path / "b", "--json") == 0
    report = json.loads(capsys.readouterr().out)
    assert {rung["latency_source"] for rung in report["profiles"][0]["rungs"]} == {"roofline"}


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--profile", "abacus"], "no built-in profile"),
        (["--profile", "linux-x86-64", "--precision", "fp16"], "none of fp16 can be built"),
        (["--profile", "linux-x86-64", "--model", "missing.onnx"], "No such file"),
        (["--profile", "linux-x86-64", "--bundle", "missing/net.bundle"], "No such file"),
        (["--profile", "linux-x86-64", "--bundle", "b", "--model", "m.onnx"], "not both"),
        (["--profile", "linux-x86-64", "-o", "/"], "-o names a file"),
    ],
)
def test_wrong_use_is_one_line(capsys: pytest.CaptureFixture[str], arguments: list[str], reason: str) -> None:
    assert secateur("measure", *arguments) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert reason in line


def test_a_table_that_does_not_hold_is_refused_by_compile(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "t.json").write_text('{"v": 1}')
    arguments = ["--task", tmp_path / "x.npz", "--profile", "linux-x86-64", "-o", tmp_path / "o"]
    assert secateur("compile", "net.onnx", *arguments, "--latency-table", tmp_path / "t.json") == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "is damaged" in line
    assert "measure again with 'secateur measure'" in line


def test_the_network_of_a_bundle_comes_from_the_workspace_beside_it() -> None:
    compiled.result()
    out = compiled.folder() / "out"
    for place in (out / f"digits-{compiled.GATEWAY}.bundle", out / "workspace"):
        network = _network("", "", place)
        assert network is not None
        assert [node.op for node in network.nodes if "weight" in node.attrs] == ["Conv", "Conv", "Conv", "Linear"]
    assert _network("", "", None) is None
