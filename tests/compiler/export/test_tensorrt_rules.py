"""What TensorRT's ONNX parser asks of a file, checked on the file: there is no GPU here, so none of it ran on one.

NVIDIA/onnx-tensorrt, docs/operators.md, and the TensorRT developer guide, "Working with quantized types" (TensorRT 10).
"""

from __future__ import annotations

import io

import numpy as np
import onnx
import pytest
from onnx import TensorProto, numpy_helper
from tests.compiler.networks import TOPOLOGIES
from tests.compiler.rungs import master_of, rung_of

from secateur.pruning.weights import holds, parse_n_of_m, sparsify

MOST_OPSET = 20
UNKNOWN = {"Trilu", "StringNormalizer", "Bernoulli", "Optional", "SequenceMap", "DynamicQuantizeLinear", "QLinearConv"}


def parsed(name: str, precision: str) -> onnx.ModelProto:
    return onnx.load(io.BytesIO(rung_of(master_of(name), 0.5, precision).data))


@pytest.mark.parametrize("name", TOPOLOGIES)
@pytest.mark.parametrize("precision", ["fp16", "int8-symmetric"])
def test_the_opset_and_the_operators_are_known_and_shapes_are_fixed(name: str, precision: str) -> None:
    model = parsed(name, precision)
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", model.opset_import[0].version)]
    assert model.opset_import[0].version <= MOST_OPSET
    assert not {node.op_type for node in model.graph.node} & UNKNOWN
    for value in model.graph.input:
        assert value.type.tensor_type.elem_type in (TensorProto.FLOAT, TensorProto.INT32, TensorProto.INT64)
        assert all(
            dimension.HasField("dim_value") or index == 0 for index, dimension in enumerate(value.type.tensor_type.shape.dim)
        )


@pytest.mark.parametrize("name", TOPOLOGIES)
def test_quantization_is_symmetric_with_constant_scales_and_weights_have_one_for_each_output_channel(name: str) -> None:
    model = parsed(name, "int8-symmetric")
    constant = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    quantized = [node for node in model.graph.node if node.op_type in ("QuantizeLinear", "DequantizeLinear")]
    assert quantized
    weights = 0
    for node in quantized:
        scale, zero = constant[node.input[1]], constant[node.input[2]]
        assert scale.dtype == np.float32
        assert (scale > 0).all()
        assert zero.dtype == np.int8
        assert not zero.any()
        if node.input[0] in constant:
            weight, axis = constant[node.input[0]], next((a.i for a in node.attribute if a.name == "axis"), 1)
            assert weight.dtype == np.int8, "a bias in eight or 32 bits is refused"
            assert scale.shape == (weight.shape[axis],)
            weights += 1
        else:
            assert scale.ndim == 0, "one scale for a tensor between layers"
    assert weights > 0


@pytest.mark.parametrize("name", TOPOLOGIES)
def test_half_precision_weights_are_half_the_bytes(name: str) -> None:
    model = parsed(name, "fp16")
    big = [tensor for tensor in model.graph.initializer if len(tensor.dims) > 1 and np.prod(tensor.dims) > 64]
    assert big
    assert {tensor.data_type for tensor in big} == {TensorProto.FLOAT16}


def test_two_of_four_along_the_input_channels_is_what_sparse_tensor_cores_take() -> None:
    """Orin's sparse tensor cores want two zeros in each four input channels (NVIDIA Ampere whitepaper)"""
    master = master_of("vgg")
    weights = {
        name: weight for name, weight in master.network.weights.items() if weight.ndim == 4 and weight.shape[1] % 4 == 0
    }
    assert weights
    pruned = sparsify(weights, {name: np.abs(weight) for name, weight in weights.items()}, "2:4", 0.0)
    pattern = parse_n_of_m("2:4")
    assert pattern is not None
    for name, weight in pruned.items():
        assert holds(weight, *pattern)
        groups = np.moveaxis(weight, 1, -1).reshape(-1, 4)
        assert ((groups != 0).sum(1) <= 2).all(), name
