"""Published ONNX files, never seen as source, from file to a bundle whose rungs pass the gate, and to a later cut."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from tests.compiler import compiled
from tests.compiler.sequence_networks import installed_file, with_fixed_inputs

from secateur.evaluation import Session
from secateur.ir import arrays_of, samples_of
from secateur.load import Task
from secateur.pipeline import CompileSettings, compile
from secateur.recutting import recut
from secateur_agent.bundle.golden import golden_errors, golden_inputs
from secateur_agent.bundle.reader import BundleFolder
from secateur_agent.protocol.messages import Constraints

RNG = np.random.default_rng(5)
COUNT, MANY = 6, 64
Samples = dict[str, NDArray[Any]]


def magika() -> tuple[onnx.ModelProto, Samples]:
    """Integers: bytes of made-up files, 256 for none."""
    model = with_fixed_inputs(installed_file("magika", "models/standard_v3_3/model.onnx"), {})
    size = model.graph.input[0].type.tensor_type.shape.dim[1].dim_value
    alphabets = RNG.integers(8, 256, (COUNT, 1))
    return model, {"bytes": (RNG.integers(0, 256, (COUNT, size)) % alphabets).astype(np.int32)}


def speech() -> tuple[onnx.ModelProto, Samples]:
    """One step of sound with two states, one sample at a time."""
    model = with_fixed_inputs(installed_file("silero_vad", "data/silero_vad_16k_sequence.onnx"), {"input": (1, 576)})
    states = {name: (0.3 * RNG.standard_normal((MANY, 1, 128))).astype(np.float32) for name in ("h", "c")}
    loudness = np.exp(RNG.uniform(-4, 0, (MANY, 1)))
    return model, {"input": (loudness * RNG.standard_normal((MANY, 576))).astype(np.float32), **states}


class Unlabelled:
    """The same samples for each split."""

    def __init__(self, samples: Samples) -> None:
        self._samples = samples

    def batches(self, split: str) -> list[tuple[Samples, None]]:
        """Return all samples as one batch."""
        return [(self._samples, None)]


@pytest.mark.parametrize(("make", "precision"), [(magika, "int8"), (speech, "fp32"), (speech, "int8")])
def test_a_published_file_compiles_and_is_cut_again(
    tmp_path: Path, make: Callable[[], tuple[onnx.ModelProto, Samples]], precision: str
) -> None:
    model, samples = make()
    onnx.save(model, tmp_path / "net.onnx")
    settings = CompileSettings(rungs=2, steps=0, precisions=(precision,))
    task, boards = Task(Unlabelled(samples), "published"), [str(compiled.board_file())]
    made = compile(str(tmp_path / "net.onnx"), task, boards, tmp_path / "out", "published", compiled.keys(), settings)
    (profile,) = made.profiles
    assert profile.dropped == {}
    bundle = BundleFolder(profile.bundle, compiled.keys().root)
    for rung in profile.rungs:
        assert rung.gate.reason == ""
        assert bundle.materialise(rung.entry.id) == rung.data
        golden = rung.entry.golden
        feeds = golden_inputs(golden, bundle.manifest.inputs)
        outputs = arrays_of(Session(rung.data).outputs(samples_of(feeds)))
        assert len(golden.others) == len(outputs) - 1
        assert all(error <= tolerance for error, tolerance in golden_errors(golden, outputs))
    largest, smallest = profile.rungs
    assert largest.entry.metric_value == 1.0 or precision == "int8"
    assert smallest.entry.macs < 0.8 * largest.entry.macs
    limit = Constraints(latency_ms=(largest.entry.latency_ms * smallest.entry.latency_ms) ** 0.5)
    cut = recut(tmp_path / "out" / "workspace", compiled.BOARD, limit, [], compiled.keys())
    assert smallest.entry.macs < cut.entry.macs < largest.entry.macs
