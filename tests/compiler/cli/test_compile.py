"""``secateur compile`` and ``secateur bundle`` in processes of their own: exit statuses, one-line errors, JSON."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from tests.compiler import compiled, digits
from tests.compiler.networks import export_onnx

from secateur.bundle.pack import digest
from secateur.cli import build_app
from secateur.cli.errors import run
from secateur.criteria import descriptions


def secateur(*arguments: str | Path, config: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "XDG_CONFIG_HOME": str(config), "OMP_NUM_THREADS": "1"}
    environment.pop("SECATEUR_KEYS", None)
    command = [sys.executable, "-m", "secateur.cli", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120)


def one_line(process: subprocess.CompletedProcess[str], status: int) -> str:
    assert process.returncode == status, process.stderr
    (line,) = process.stderr.splitlines()
    assert line.startswith("secateur: ")
    return line


def test_rungs_may_do_without_blocks_if_asked(tmp_path: Path, data: Path) -> None:
    model, out = tmp_path / "residual.onnx", tmp_path / "build"
    onnx.save(export_onnx(digits.trained_residual(), digits.SHAPE, folded=True), model)
    options = ["--task", data, "--profile", compiled.board_file(), "--rungs", 3, "--steps", 0, "-o", out, "--drop-blocks"]
    made = secateur("compile", model, *options, "--block-criterion", "recoverability", "--json", config=tmp_path)
    assert made.returncode == 0, made.stderr
    report = json.loads(made.stdout)
    blocks = [block["id"] for block in report["blocks"]]
    rungs = report["profiles"][0]["rungs"]
    assert all(rungs[0]["keep"][block] == 1 for block in blocks)
    assert any(rungs[-1]["keep"][block] == 0 for block in blocks)
    assert "dropped" in (out / "report.html").read_text()


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The digits as a file."""
    path = tmp_path_factory.mktemp("data") / "digits.npz"
    np.savez(path, **dict(zip(("x_train", "x_test", "y_train", "y_test"), digits.arrays())))
    return path


def test_the_help_lists_every_criterion(tmp_path: Path) -> None:
    shown = secateur("compile", "--help", config=tmp_path)
    assert shown.returncode == 0
    listed = shown.stdout.partition("Criteria (--criterion NAME):")[2]
    for name, line in descriptions().items():
        assert f"\n  {name} " in listed
        assert line in " ".join(listed.split())


def test_a_network_is_compiled_shown_and_materialised(tmp_path: Path, data: Path) -> None:
    out = tmp_path / "build"
    options = ["--task", data, "--profile", compiled.board_file(), "--rungs", 2, "--steps", 2, "--name", "digits", "-o", out]
    made = secateur("compile", compiled.digits_onnx(), *options, "--json", config=tmp_path)
    assert made.returncode == 0, made.stderr
    report = json.loads(made.stdout)
    (profile,) = report["profiles"]
    assert [rung["id"] for rung in profile["rungs"]] == ["r0-int8", "r1-int8"]
    assert report["labelled"] is True
    assert report["metric"] == "accuracy"
    assert json.loads((out / "report.json").read_text())["name"] == "digits"
    assert "r1-int8" in (out / "report.html").read_text()
    bundle = out / f"digits-{compiled.BOARD}.bundle"
    shown = secateur("bundle", "show", bundle, "--json", config=tmp_path)
    manifest = json.loads(shown.stdout)["manifest"]
    assert shown.returncode == 0
    assert [rung["id"] for rung in manifest["rungs"]] == ["r0-int8", "r1-int8"]
    written = secateur("bundle", "materialise", bundle, "r1-int8", "-o", tmp_path / "r1.onnx", config=tmp_path)
    assert written.returncode == 0, written.stderr
    assert digest((tmp_path / "r1.onnx").read_bytes()) == manifest["rungs"][1]["file_sha256"]
    line = one_line(secateur("bundle", "materialise", bundle, "r9-int8", "-o", tmp_path / "r9", config=tmp_path), 1)
    assert "no rung 'r9-int8'; it has r0-int8, r1-int8" in line
    (bundle / "base-int8.safetensors").write_bytes(b"altered")
    assert "altered" in one_line(secateur("bundle", "show", bundle, config=tmp_path), 1)


def test_budgets_that_nothing_meets_end_with_status_3(tmp_path: Path, data: Path) -> None:
    options = ["--task", data, "--profile", "raspberry-pi-4b", "--budget", "size=1KB", "-o", tmp_path / "build"]
    line = one_line(secateur("compile", compiled.digits_onnx(), *options, "--json", config=tmp_path), 3)
    assert "infeasible" in line
    assert "the nearest is" in line
    assert not (tmp_path / "build").exists()


@pytest.mark.parametrize(
    ("changes", "status", "reason"),
    [
        ({"--budget": "latency=fast"}, 1, "write KIND=VALUE"),
        ({"--profile": "abacus"}, 1, "no built-in profile"),
        ({"--task": "missing.npz"}, 1, "cannot be read: No such file"),
        ({"model": "missing.onnx"}, 1, "No such file"),
        ({"--rungs": "1"}, 2, "--rungs"),
        ({"--steps": "many"}, 2, "--steps"),
        ({"-o": None}, 2, "Missing option"),
    ],
)
def test_wrong_use_is_one_line(
    tmp_path: Path,
    data: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    changes: dict[str, str | None],
    status: int,
    reason: str,
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    options: dict[str, str | Path | None] = {
        "model": compiled.digits_onnx(),
        "--task": data,
        "--profile": "raspberry-pi-4b",
        "-o": tmp_path / "build",
        **changes,
    }
    model = options.pop("model")
    arguments = [str(part) for key, value in options.items() if value is not None for part in (key, value)]
    assert run(build_app(), ["compile", str(model), *arguments, "--json"]) == status
    captured = capsys.readouterr()
    (line,) = captured.err.splitlines()
    assert reason in line
    assert captured.out == ""
    assert not (tmp_path / "build").exists()


def test_a_place_that_cannot_be_written_is_one_line(tmp_path: Path, data: Path) -> None:
    (tmp_path / "file").write_text("")
    options = ["--task", data, "--profile", "raspberry-pi-4b", "--steps", 0, "--rungs", 2, "-o", tmp_path / "file" / "build"]
    line = one_line(secateur("compile", compiled.digits_onnx(), *options, "--json", config=tmp_path), 1)
    assert "file/build" in line


def test_a_search_of_some_seconds_tries_more_networks_and_leaves_no_trace(tmp_path: Path, data: Path) -> None:
    options = ["--task", data, "--profile", compiled.board_file(), "--rungs", 3, "--steps", 0, "--json"]
    tried = []
    for name, extra in (("plain", ()), ("searched", ("--search-budget", "2s"))):
        out = tmp_path / name
        made = secateur("compile", compiled.digits_onnx(), *options, *extra, "-o", out, config=tmp_path)
        assert made.returncode == 0, made.stderr
        tried.append(json.loads(made.stdout)["tried"])
        assert not list(out.glob(".search-*"))
        assert ("What the search tried") in (out / "report.html").read_text()
    assert len(tried[1]) > len(tried[0])
    assert sum(each["rung"] for each in tried[1]) == 2, "every rung but the original was measured as a whole"


def test_a_search_budget_that_is_no_time_is_refused(tmp_path: Path, data: Path) -> None:
    options = ["--task", data, "--profile", compiled.board_file(), "-o", tmp_path / "build", "--search-budget", "long"]
    line = one_line(secateur("compile", compiled.digits_onnx(), *options, config=tmp_path), 1)
    assert "--search-budget 'long': write a number above 0 and a unit" in line
    assert not (tmp_path / "build").exists()
