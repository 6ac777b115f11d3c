"""``secateur compile`` takes schedules, penalties and sparsity, and says what they did."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from tests.compiler import compiled, digits

from secateur.cli import build_app
from secateur.cli.errors import run


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The digits as a file."""
    path = tmp_path_factory.mktemp("data") / "digits.npz"
    np.savez(path, **dict(zip(("x_train", "x_test", "y_train", "y_test"), digits.arrays())))
    return path


@pytest.fixture
def compile_(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):  # type: ignore[no-untyped-def]
    """Run the command in this process; return its status, output and errors."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))

    def call(*options: object) -> tuple[int, str, str]:
        arguments = ["--task", data, "--profile", compiled.board_file(), "--rungs", 2, "--steps", 3, "--name", "digits"]
        words = [compiled.digits_onnx(), *arguments, "-o", tmp_path / "build", *options]
        status = run(build_app(), ["compile", *map(str, words)])
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return call


def test_zeros_are_asked_for_and_explained(compile_, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    status, text, errors = compile_("--sparsity", 0.5, "--sparsity-criterion", "taylor", "--sparsity-steps", 2)
    assert status == 0, errors
    assert "50.0% of the shared weights are zero (ratio, by taylor)" in text
    assert "Zeros give neither speed nor size (tensorflow/model-optimization#173, #611, #722)" in text
    assert "r0 shares the tuned base; accuracy on validation moved by" in text
    report = json.loads((tmp_path / "build" / "report.json").read_text())
    assert report["sparsity"]["zero_share"] == pytest.approx(0.5, abs=1e-3)
    assert report["sparsity"]["compressed_after"]["int8"] < report["sparsity"]["compressed_before"]["int8"]


def test_without_zeros_nothing_is_said_of_them(compile_) -> None:  # type: ignore[no-untyped-def]
    status, text, _ = compile_()
    assert status == 0
    assert "Zeros" not in text


def test_n_of_m_is_said_rung_by_rung(compile_) -> None:  # type: ignore[no-untyped-def]
    status, text, errors = compile_("--sparsity-pattern", "2:4", "--sparsity-steps", 2, "--json")
    assert status == 0, errors
    sparsity = json.loads(text)["sparsity"]
    assert sparsity["pattern_kept"] == {f"{compiled.BOARD}/r0-int8": True, f"{compiled.BOARD}/r1-int8": True}
    assert "sparse tensor cores only" in sparsity["note"]


@pytest.mark.parametrize(
    "options",
    [
        ("--schedule", "iterative"),
        ("--schedule", "gradual", "--schedule-steps", 4),
        ("--schedule", "dynamic", "--schedule-steps", 4, "--regulariser", "l1-scale", "--regulariser-steps", 4),
        ("--regulariser", "group-lasso", "--regulariser-steps", 4, "--regulariser-strength", 0.001),
    ],
)
def test_schedules_and_penalties_compile(compile_, options: tuple[object, ...]) -> None:  # type: ignore[no-untyped-def]
    status, text, errors = compile_(*options, "--json")
    assert status == 0, errors
    report = json.loads(text)
    given = dict(zip(options[::2], options[1::2]))
    assert report["schedule"] == given.get("--schedule", "one-shot")
    assert report["regulariser"] == given.get("--regulariser", "none")
    assert report["profiles"][0]["original_change"] > -0.1


@pytest.mark.parametrize(
    ("options", "status", "reason"),
    [
        (("--schedule", "sudden"), 1, "schedule 'sudden'"),
        (("--regulariser", "l9"), 1, "regulariser 'l9'"),
        (("--regulariser", "l2", "--regulariser-strength", -1), 1, "above 0"),
        (("--sparsity", 2), 1, "below 1"),
        (("--sparsity", -1), 1, "0 or more"),
        (("--sparsity-pattern", "8:4"), 1, "sparsity pattern '8:4'"),
        (("--sparsity", 0.5, "--sparsity-criterion", "vibes"), 1, "sparsity criterion 'vibes'"),
        (("--sparsity", "half"), 2, "--sparsity"),
        (("--schedule-steps", 0), 2, "--schedule-steps"),
    ],
)
def test_wrong_use_is_one_line(compile_, tmp_path: Path, options: tuple[object, ...], status: int, reason: str) -> None:  # type: ignore[no-untyped-def]
    found, text, errors = compile_(*options, "--json")
    assert (found, text) == (status, "")
    (line,) = errors.splitlines()
    assert reason in line
    assert not (tmp_path / "build").exists()
