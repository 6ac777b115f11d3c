"""A profile with TFLite, from an ONNX file to a bundle, and a rung that is cut later: the same base as ONNX's."""

from __future__ import annotations

import sys
from functools import cache, partial
from pathlib import Path

import numpy as np
import onnx
import pytest
from tests.compiler import compiled, digits
from tests.compiler.compiled import PHONE
from tests.compiler.sequence_networks import Recurrent, exported, seeded
from torch import nn

from secateur.bundle.reader import BundleFolder
from secateur.cli import build_app
from secateur.cli.errors import run
from secateur.evaluation import Session, require_runtime
from secateur.evaluation.runtime import is_tflite
from secateur.ir import SecateurError
from secateur.pipeline import CompileResult, CompileSettings, compile
from secateur.recutting import recut
from secateur_agent.bundle.base import read_base
from secateur_agent.bundle.manifest import open_recut
from secateur_agent.bundle.materialise import materialise_bytes
from secateur_agent.bundle.reader import load_recipe
from secateur_agent.protocol.messages import Constraints


@cache
def result() -> CompileResult:
    """A phone with TFLite and a board with ONNX Runtime, of one tuning."""
    settings = CompileSettings(rungs=3, steps=20)
    profiles = [str(compiled.board_file(PHONE)), str(compiled.board_file())]
    out = compiled.folder() / "lite"
    return compile(str(compiled.digits_onnx()), digits.task(), profiles, out, "digits", compiled.keys(), settings)


def bundle_of(profile: str) -> BundleFolder:
    result()
    return BundleFolder(compiled.folder() / "lite" / f"digits-{profile}.bundle", compiled.keys().root)


def test_both_runtimes_have_the_same_base_and_about_the_same_accuracy() -> None:
    phone, board = result().profiles
    assert [is_tflite(rung.data) for rung in phone.rungs] == [True] * 3
    assert not any(is_tflite(rung.data) for rung in board.rungs)
    assert phone.rungs[0].entry.base == board.rungs[0].entry.base
    assert abs(phone.rungs[0].test_value - board.rungs[0].test_value) <= 0.005
    assert phone.rungs[0].test_value > 0.95


def test_the_bundle_materialises_to_the_files_that_were_checked() -> None:
    bundle = bundle_of(PHONE)
    bundle.verify()
    for rung in result().profiles[0].rungs:
        assert bundle.materialise(rung.entry.id) == rung.data
    # Later rungs share the first one's program.
    for entry in bundle.manifest.rungs[1:]:
        load_recipe(bundle.read(entry.recipe), entry, bundle.read, must_inherit=True)


def test_a_rung_is_cut_later() -> None:
    bundle = bundle_of(PHONE)
    first, second = bundle.manifest.rungs[:2]
    limit = Constraints(latency_ms=(first.latency_ms + second.latency_ms) / 2)
    cut = recut(compiled.folder() / "lite" / "workspace", PHONE, limit, [], compiled.keys())
    rung = open_recut(compiled.keys().root, cut.envelope, bundle.manifest, bundle.manifest_sha256).rung
    recipe = load_recipe(cut.recipe, rung, bundle.read, must_inherit=True)
    base = next(file.path for file in bundle.manifest.files if file.sha256 == rung.base)
    data = materialise_bytes(recipe, read_base(bundle.path / base), rung.id)
    assert second.file_bytes < len(data) < first.file_bytes
    x, labels = digits.arrays()[1], digits.arrays()[3]
    assert float(np.mean(Session(data).run(x).argmax(1) == labels)) > 0.8


def test_a_network_that_tflite_cannot_run_is_refused_before_anything_takes_long(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    onnx.save(exported(seeded(partial(Recurrent, nn.GRU)), {"input": ((3, 20), "float32")}, True), tmp_path / "gru.onnx")
    x = np.random.default_rng(0).standard_normal((64, 3, 20)).astype(np.float32)
    np.savez(tmp_path / "task.npz", x_train=x, x_test=x)
    command = ["compile", str(tmp_path / "gru.onnx"), "--task", str(tmp_path / "task.npz"), "--profile", "android-phone"]
    assert run(build_app(), [*command, "-o", str(tmp_path / "out")]) == 1
    error = capsys.readouterr().err
    assert "secateur: tflite: GRU" in error
    assert "compile for a profile with onnxruntime" in error
    assert "Traceback" not in error
    assert not (tmp_path / "out").exists()


def test_without_a_runtime_to_check_files_in_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("secateur_agent.inference.tflite_model", "ai_edge_litert", "tflite_runtime"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(SecateurError, match=r"^tflite: no runtime is installed .*; pip install 'secateur\[tflite\]'$"):
        require_runtime("tflite")
    require_runtime("onnxruntime")
