"""Ladders are built with the layers that stay float for their profile, and later cuts keep to them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load
from tests.compiler import compiled, digits

from secateur import building
from secateur.bundle.reader import BundleFolder
from secateur.evaluation import Session
from secateur.ir import SecateurError
from secateur.master import Master
from secateur.mixed_precision import LayerCost, Mixed, MixedPrecision
from secateur.pipeline import CompileSettings, compile
from secateur.quantizing import quantize_rung
from secateur.recutting import recut
from secateur_agent.protocol.messages import Constraints


def test_a_later_cut_has_the_same_layers_in_float(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = frozenset({"w1"})

    def mix(master: Master, *_: object) -> Mixed:
        found = MixedPrecision("int8", 0.9, 0.8, 0.9, (LayerCost("second", 0.5, 0.3, True),))
        mixed, full = replace(master, floating=chosen), master.groups.full()
        judged = digits.task().inputs("validation")
        return Mixed(mixed, found, quantize_rung(mixed, mixed.rung_network(full), mixed.index(full), "int8", judged))

    monkeypatch.setattr(building, "mix_precisions", mix)
    settings = CompileSettings(rungs=2, steps=10, qat_steps=4, precisions=("int8",))
    out, boards = tmp_path / "out", [str(compiled.board_file())]
    made = compile(str(compiled.digits_onnx()), digits.task(), boards, out, "digits", compiled.keys(), settings)
    (profile,) = made.profiles
    base = load((profile.bundle / "base-int8.safetensors").read_bytes())
    assert {name for name, weight in base.items() if weight.dtype == np.float32} == chosen
    bundle = BundleFolder(profile.bundle, compiled.keys().root)
    for rung in profile.rungs:
        assert bundle.materialise(rung.entry.id) == rung.data
    largest, smallest = profile.rungs
    limit = Constraints(latency_ms=(largest.entry.latency_ms * smallest.entry.latency_ms) ** 0.5)
    cut = recut(out / "workspace", compiled.BOARD, limit, [], compiled.keys())
    assert cut.entry.base == largest.entry.base
    assert cut.entry.metric_value > 0.5
    assert made.quantized is not None
    assert made.quantized.steps == 4
    assert any(line.startswith("tuning in int8") for line in made.notes)
    assert any("1 of 1 layers stay float (second)" in line for line in made.notes)
    assert Session(largest.data).run(digits.arrays()[1][:2]).shape == (2, 10)


@pytest.mark.parametrize("precision", ["fp32", "int8-weight-only"])
def test_tuning_in_int8_needs_a_profile_that_computes_in_int8(tmp_path: Path, precision: str) -> None:
    settings = CompileSettings(rungs=2, steps=0, qat_steps=4, precisions=(precision,))
    boards = [str(compiled.board_file())]
    with pytest.raises(SecateurError, match=r"--qat-steps: nothing computes in int8"):
        compile(str(compiled.digits_onnx()), digits.task(), boards, tmp_path / "out", "digits", compiled.keys(), settings)
    assert not (tmp_path / "out").exists()
