"""Convolutions before a GRU, an LSTM or a plain recurrent layer: the convolutions are cut, the layer is kept whole."""

from __future__ import annotations

from functools import partial

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from tests.compiler.sequence_networks import Recurrent, check, exported, seeded
from torch import nn

from secateur.ir import UnsupportedModelError
from secateur.load import load_onnx

SOUND = {"input": ((3, 20), "float32")}
VARIANTS = {
    "gru": partial(Recurrent, nn.GRU),
    "gru-last": partial(Recurrent, nn.GRU, last=True),
    "gru-both-ways": partial(Recurrent, nn.GRU, bidirectional=True, last=True),
    "lstm": partial(Recurrent, nn.LSTM),
    "lstm-both-ways": partial(Recurrent, nn.LSTM, bidirectional=True),
    "rnn": partial(Recurrent, nn.RNN, last=True),
}


@pytest.mark.parametrize(
    ("name", "folded"),
    # torch's new exporter writes out every step of a plain recurrent layer: only the old one keeps it as an operator.
    [(name, folded) for name in VARIANTS for folded in (False, True) if folded or name != "rnn"],
)
def test_convolutions_are_cut_and_the_recurrent_layer_is_a_barrier(name: str, folded: bool) -> None:
    checked = check(exported(seeded(VARIANTS[name]), SOUND, folded), not_in_tflite="(GRU|LSTM|RNN) .* cannot be written")
    assert [group.size for group in checked.groups.groups] == [32, 32]
    assert checked.share > 0.6
    assert any("is kept whole" in reason for reason in checked.groups.barriers.values())


def recurrent_file(reset: int, steps_on_batch: bool = False) -> onnx.ModelProto:
    """A GRU by itself, in ONNX's own layout."""
    rng = np.random.default_rng(0)
    weights = {name: rng.normal(size=(1, 15, width)) for name, width in (("w", 4), ("r", 5))}
    first = "x" if steps_on_batch else "moved"
    nodes = [
        helper.make_node("Transpose", ["x"], ["moved"], perm=[1, 0, 2]),
        helper.make_node("GRU", [first, "w", "r"], ["all", ""], hidden_size=5, linear_before_reset=reset, name="gru"),
        helper.make_node("Squeeze", ["all", "one"], ["flat"]),
        helper.make_node("Transpose", ["flat"], ["y"], perm=[1, 0, 2]),
    ]
    constants = [numpy_helper.from_array(value.astype(np.float32), name) for name, value in weights.items()]
    constants.append(numpy_helper.from_array(np.asarray([1]), "one"))
    ends = [helper.make_tensor_value_info(name, 1, ["batch", 6, size]) for name, size in (("x", 4), ("y", 5))]
    if steps_on_batch:
        nodes = [nodes[1], nodes[2]]
        ends[1] = helper.make_tensor_value_info("flat", 1, ["batch", 6, 5])
    graph = helper.make_graph(nodes, "gru", ends[:1], ends[1:], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


@pytest.mark.parametrize("reset", [0, 1])
def test_both_kinds_of_reset_gate(reset: int) -> None:
    checked = check(recurrent_file(reset), not_in_tflite="GRU")
    assert [node.op for node in checked.network.nodes] == ["GRU", "Reshape"]


def test_a_recurrent_layer_over_the_batch_is_refused_in_one_line() -> None:
    with pytest.raises(UnsupportedModelError, match=r"node gru \(GRU\): its steps lie on the batch axis") as caught:
        load_onnx(recurrent_file(1, steps_on_batch=True))
    assert "\n" not in str(caught.value)
