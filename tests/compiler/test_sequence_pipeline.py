"""Transformers, integer inputs, several inputs and outputs: from the model to a bundle whose rungs pass the gate."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from tests.compiler import compiled
from tests.compiler.compiled import BOARD
from tests.compiler.sequence_networks import (
    IDS,
    STEPS,
    Bert,
    MaskedAttention,
    VisionTransformer,
    exported,
    in_onnxruntime,
    seeded,
)

from secateur.ir import SecateurError
from secateur.load import ArrayTask, Task
from secateur.pipeline import CompileSettings, compile
from secateur.recutting import recut
from secateur.workspace import load_workspace
from secateur_agent.bundle.golden import golden_error, golden_inputs
from secateur_agent.bundle.reader import BundleFolder
from secateur_agent.protocol.messages import Constraints

RNG = np.random.default_rng(3)
TOKENS = RNG.integers(0, IDS, (120, STEPS))
MASKS = np.ones((120, STEPS), np.float32)
MASKS[::3, 5:] = 0


class BothOutputs:
    """A labelled task of two inputs whose metric looks at both outputs."""

    all_outputs = True
    metric_name = "finite"

    def batches(self, split: str) -> list[tuple[dict[str, NDArray[Any]], NDArray[Any]]]:
        """Return the same samples for each split, inputs by name and in another order than the model's."""
        return [({"mask": MASKS, "ids": TOKENS}, np.zeros(len(TOKENS), int))]

    def metric(self, outputs: tuple[NDArray[Any], ...], targets: NDArray[Any]) -> float:
        """Share of finite outputs; there must be two."""
        first, second = outputs
        assert first.shape == (len(targets), 5)
        assert second.shape == (len(targets), STEPS, 5)
        return float(np.isfinite(first).mean() * np.isfinite(second).mean())


def both_outputs() -> BothOutputs:
    """What a task's ``module:object`` names."""
    return BothOutputs()


def saved(path: Path, model: onnx.ModelProto) -> str:
    onnx.save(model, path)
    return str(path)


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_an_encoder_of_integer_tokens_compiles(tmp_path: Path, precision: str) -> None:
    model = saved(tmp_path / "bert.onnx", exported(seeded(Bert), {"input": ((STEPS,), "int64")}, True))
    task = Task(ArrayTask(TOKENS, TOKENS[:40]), "tokens")
    settings = CompileSettings(rungs=3, steps=2, precisions=(precision,))
    made = compile(model, task, [str(compiled.board_file())], tmp_path / "out", "bert", compiled.keys(), settings)
    (profile,) = made.profiles
    assert profile.dropped == {}
    bundle = BundleFolder(profile.bundle, compiled.keys().root)
    assert [spec.datatype for spec in bundle.manifest.inputs] == ["INT64"]
    for rung in profile.rungs:
        assert rung.gate.reason == ""
        assert bundle.materialise(rung.entry.id) == rung.data
        (ids,) = golden_inputs(rung.entry.golden, bundle.manifest.inputs)
        assert ids.dtype == np.int64
        assert 0 <= ids.min() < ids.max() < IDS
    assert profile.rungs[-1].entry.macs < 0.8 * profile.rungs[0].entry.macs


def test_a_vision_transformer_compiles_from_torch(tmp_path: Path) -> None:
    images = RNG.normal(size=(80, 3, 12, 12)).astype(np.float32)
    settings = CompileSettings(rungs=2, steps=1, precisions=("int8",))
    task, boards = Task(ArrayTask(images, images[:20]), "images"), [str(compiled.board_file())]
    made = compile(seeded(_Small), task, boards, tmp_path / "out", "vit", compiled.keys(), settings)
    (profile,) = made.profiles
    assert profile.dropped == {}
    assert [rung.gate.reason for rung in profile.rungs] == ["", ""]


def test_two_inputs_and_two_outputs_go_through_the_whole_pipeline_and_can_be_cut_again(tmp_path: Path) -> None:
    example = {"ids": ((STEPS,), "int64"), "mask": ((STEPS,), "float32")}
    model = saved(tmp_path / "masked.onnx", exported(seeded(MaskedAttention), example, True))
    settings = CompileSettings(rungs=2, steps=2, precisions=("int8",))
    task = Task(BothOutputs(), "tests.compiler.test_sequence_pipeline:both_outputs")
    made = compile(model, task, [str(compiled.board_file())], tmp_path / "out", "masked", compiled.keys(), settings)
    (profile,) = made.profiles
    assert profile.dropped == {}
    bundle = BundleFolder(profile.bundle, compiled.keys().root)
    assert [(spec.name, spec.datatype) for spec in bundle.manifest.inputs] == [("ids", "INT64"), ("mask", "FP32")]
    assert len(bundle.manifest.outputs) == 2
    for rung in profile.rungs:
        assert rung.entry.metric_value == 1.0
        # Scores with −10,000 where the mask is would have one value in eight bits.
        assert rung.gate.snr_db > 20
        golden = rung.entry.golden
        assert golden.ranges == ((0.0, IDS - 1.0), (0.0, 1.0))
        feeds = zip(("ids", "mask"), golden_inputs(golden, bundle.manifest.inputs))
        outputs = in_onnxruntime(rung.data, {name: _Numpy(value) for name, value in feeds})  # type: ignore[arg-type]
        assert golden_error(golden, outputs[0]) <= golden.tolerance
    _, master, judge = load_workspace(tmp_path / "out" / "workspace")
    assert isinstance(master.calibration, tuple)
    assert [array.dtype.name for array in master.calibration] == ["int64", "float32"]
    assert [array.shape[1:] for array in judge.original["validation"]] == [(5,), (STEPS, 5)]
    limit = profile.rungs[-1].entry.latency_ms
    cut = recut(tmp_path / "out" / "workspace", BOARD, Constraints(latency_ms=limit), [], compiled.keys())
    assert cut.entry.metric_value == 1.0


class _Small(VisionTransformer):
    """One block: torch's exporter takes its time."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = self.blocks[:1]


class _Numpy:
    """An array where `in_onnxruntime` expects a tensor."""

    def __init__(self, value: NDArray[Any]) -> None:
        self._value = value

    def numpy(self) -> NDArray[Any]:
        return self._value


def test_a_task_whose_inputs_are_named_otherwise_is_refused_in_one_line() -> None:
    task = Task(BothOutputs(), "both")
    with pytest.raises(SecateurError, match="has the inputs mask, ids, but the model ids, lengths") as caught:
        task.fit({"ids": ((STEPS,), "int64"), "lengths": ((STEPS,), "float32")})
    assert "\n" not in str(caught.value)
