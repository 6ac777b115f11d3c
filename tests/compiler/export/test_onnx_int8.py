"""int8 rungs share the base exactly, and are as good as rungs quantized by themselves."""

from __future__ import annotations

import io

import numpy as np
import onnx
import pytest
from onnx import TensorProto, numpy_helper
from tests.compiler.networks import MAKERS, TOPOLOGIES, samples
from tests.compiler.rungs import master_of, rung_of, twin_outputs

from secateur.evaluation import Session, check_rung, snr_db
from secateur.writing import file_of


def int8_weights(data: bytes) -> list[np.ndarray]:
    """The weights in the file: int8 initializers with more than one axis."""
    tensors = onnx.load(io.BytesIO(data)).graph.initializer
    return [numpy_helper.to_array(t) for t in tensors if t.data_type == TensorProto.INT8 and len(t.dims) > 1]


@pytest.mark.parametrize("name", TOPOLOGIES)
@pytest.mark.parametrize("folded", [False, True])
def test_every_int8_weight_of_every_rung_is_the_slice_of_the_base(name: str, folded: bool) -> None:
    master = master_of(name, folded)
    for share in (1.0, 0.75, 0.3):
        rung = rung_of(master, share, "int8")
        onnx.checker.check_model(onnx.load(io.BytesIO(rung.data)), full_check=True)
        index = master.index(rung.keep)
        found = int8_weights(rung.data)
        expected = [master.quantized[key].values[np.ix_(*index[key])] for key in master.network.weights]
        assert len(found) == len(expected)
        for got, want in zip(found, expected):
            shared = got if got.shape == want.shape else got.T  # a matrix product takes its weight as (in, out)
            assert int((shared != want).sum()) == 0


@pytest.mark.parametrize("name", TOPOLOGIES)
@pytest.mark.parametrize("share", [1.0, 0.5])
def test_sharing_costs_at_most_three_decibels(name: str, share: float) -> None:
    master = master_of(name)
    rung = rung_of(master, share, "int8")
    x = samples(MAKERS[name][1], 128, seed=5)
    gate = check_rung(rung.data, twin_outputs(rung.network, x), x, file_of(rung.network, master.calibration, "int8"))
    assert gate.reason == ""
    assert gate.snr_db > gate.ordinary_snr_db - 3
    assert gate.snr_db > 15


@pytest.mark.parametrize("name", TOPOLOGIES)
def test_any_batch_size_runs(name: str) -> None:
    rung = rung_of(master_of(name), 0.5, "int8")
    session = Session(rung.data)
    x = samples(MAKERS[name][1], 7)
    whole = session.run(x)
    np.testing.assert_allclose(np.concatenate([session.run(x[i : i + 1]) for i in range(7)]), whole, atol=1e-6)


def test_depthwise_groups_are_those_of_the_rung() -> None:
    rung = rung_of(master_of("mobilenet"), 0.25, "int8")
    nodes = onnx.load(io.BytesIO(rung.data)).graph.node
    groups = {attribute.i for node in nodes for attribute in node.attribute if attribute.name == "group"}
    assert groups == {1, 8, 16}


@pytest.mark.parametrize("name", TOPOLOGIES)
def test_around_zero_every_zero_point_is_0_biases_are_float_and_accuracy_is_near(name: str) -> None:
    """TensorRT's parser refuses another zero point, an int32 bias, and a clipping that is not written."""
    master = master_of(name)
    rung, usual = rung_of(master, 0.5, "int8-symmetric"), rung_of(master, 0.5, "int8")
    graph = onnx.load(io.BytesIO(rung.data)).graph
    values = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    assert any(node.op_type == "QuantizeLinear" for node in graph.node)
    for node in graph.node:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            assert not values[node.input[2]].any()
            assert values[node.input[2]].dtype == np.int8
            assert (values[node.input[1]] > 0).all()
        if node.op_type in ("Conv", "Gemm") and len(node.input) > 2:
            assert values[node.input[2]].dtype == np.float32
    clipping = ("Relu", "Clip")
    wanted = [node.op for node in rung.network.nodes if node.op in clipping]
    assert sorted(node.op_type for node in graph.node if node.op_type in clipping) == sorted(wanted)
    x = samples(MAKERS[name][1], 64)
    found, other = (snr_db(twin_outputs(r.network, x), Session(r.data).run(x)) for r in (rung, usual))
    assert found > other - 9  # half of the range of what is never negative is given away: six decibels
