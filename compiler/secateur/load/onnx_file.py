"""ONNX files → normal form."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

from secateur.ir import Network, UnsupportedModelError
from secateur.load.agreement import check_agreement
from secateur.load.builder import ELEMENT_TYPES, Builder
from secateur.load.converters import CONTROL_FLOW, CONVERTERS
from secateur.load.normal_form import normalise
from secateur.load.rearrangements import recognise_rearrangements
from secateur.load.shortcuts import convolve_shortcuts
from secateur.twin import shapes_of

_STANDARD_DOMAINS = ("", "ai.onnx")
_TAKE_INFINITY = ("Add", "Where", "Max", "Min", "Clip", "Unsqueeze", "Expand", "Slice", "Identity")
_INPUT_TYPES = {onnx.TensorProto.FLOAT: "float32", onnx.TensorProto.INT64: "int64", onnx.TensorProto.INT32: "int32"}
OLDEST_OPSET = 11


def load_onnx(source: Path | onnx.ModelProto) -> Network:
    """Bring an ONNX model to normal form; it does not matter whether batch norm was folded into it.

    Args:
        source: a file, or a model in memory. Opset 11 or later; inputs float32, int32 or int64; the first axis of each input
            is the batch.

    Returns:
        The network, weights in the order of the file.

    Raises:
        UnsupportedModelError: one line that names the node and the reason.
    """
    what = str(source) if isinstance(source, Path) else "model"
    model = _read(source) if isinstance(source, Path) else source
    opset = _opset(model, what)
    graph = model.graph
    constants = {tensor.name: _values(tensor, what) for tensor in graph.initializer}
    _check_finite(graph, constants, what)
    read = {name for node in graph.node for name in node.input} | {value.name for value in graph.output}
    builder = Builder(constants, opset, read)
    for value in graph.input:
        if value.name not in constants:
            builder.add_input(value.name, *_input_type(value, what))
            builder.one_sample &= value.type.tensor_type.shape.dim[0].dim_value == 1
    if not builder.inputs:
        raise UnsupportedModelError(f"{what}: it has no input")
    for index, node in enumerate(graph.node):
        label = f"{what}: node {node.name or '#' + str(index)} ({node.op_type})"
        if node.op_type in CONTROL_FLOW:
            raise UnsupportedModelError(f"{label}: control flow that depends on data cannot be compiled; export without it")
        if node.domain not in _STANDARD_DOMAINS:
            raise UnsupportedModelError(
                f"{label}: operator of domain {node.domain!r} not supported; export with standard ones"
            )
        builder.convert(node, CONVERTERS.get(node.op_type), label)
    for value in graph.output:
        if value.name not in {*builder.shapes, *builder.views}:
            raise UnsupportedModelError(f"{what}: output {value.name} does not depend on an input")
    outputs = [builder.tensor(value.name) for value in graph.output]
    for name, value in zip(outputs, graph.output):
        if name in builder.inputs or outputs.count(name) > 1:
            raise UnsupportedModelError(f"{what}: output {value.name} is the same tensor as an input or another output")
    network = Network(
        inputs=builder.inputs,
        outputs={name: builder.shapes[name] for name in outputs},
        nodes=builder.nodes,
        weights=builder.weights,
        tables=builder.tables,
        shapes={},
        dtypes={name: ELEMENT_TYPES[builder.dtypes[name]] for name in (*builder.inputs, *outputs)},
    )
    network = convolve_shortcuts(recognise_rearrangements(network, builder.shapes), builder.shapes)
    network = normalise(network, {name: value.name for name, value in zip(outputs, graph.output)})
    network.shapes = shapes_of(network)
    network.outputs = {name: network.shapes[name] for name in network.outputs}
    check_agreement(model, network, what)
    return network


def _read(path: Path) -> onnx.ModelProto:
    try:
        model = onnx.load(path)
        onnx.checker.check_model(model)
    except OSError as error:
        raise UnsupportedModelError(f"{path}: {error.strerror or error}") from None
    except Exception as error:  # protobuf and the checker have no common error type
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UnsupportedModelError(f"{path}: not a valid ONNX file: {first}") from None
    return model


def _opset(model: onnx.ModelProto, what: str) -> int:
    opset = next((int(entry.version) for entry in model.opset_import if entry.domain in _STANDARD_DOMAINS), 0)
    if opset < OLDEST_OPSET:
        raise UnsupportedModelError(f"{what}: opset {opset}; export it again with opset {OLDEST_OPSET} or later")
    return opset


def _values(tensor: onnx.TensorProto, what: str) -> np.ndarray:
    try:
        return np.asarray(numpy_helper.to_array(tensor))
    except (ValueError, TypeError) as error:
        raise UnsupportedModelError(f"{what}: weight {tensor.name} is damaged: {str(error).splitlines()[0]}") from None


def _check_finite(graph: onnx.GraphProto, constants: dict[str, np.ndarray], what: str) -> None:
    """NaN is refused anywhere; infinity is what masks and bounds may have, and nothing else."""
    strict = {name for node in graph.node if node.op_type not in _TAKE_INFINITY for name in node.input}
    for name, value in constants.items():
        if not np.issubdtype(value.dtype, np.floating):
            continue
        if np.isnan(value).any() or (name in strict and np.isinf(value).any()):
            raise UnsupportedModelError(f"{what}: weight {name} has NaN or infinite values; was the training healthy?")


def _input_type(value: onnx.ValueInfoProto, what: str) -> tuple[tuple[int, ...], str]:
    tensor = value.type.tensor_type
    dtype = _INPUT_TYPES.get(tensor.elem_type)
    if dtype is None:
        known = ", ".join(_INPUT_TYPES.values())
        raise UnsupportedModelError(f"{what}: input {value.name}: its element type is not supported, only {known} are")
    dims = [dim.dim_value for dim in tensor.shape.dim]
    if len(dims) < 2 or any(size <= 0 for size in dims[1:]):
        raise UnsupportedModelError(
            f"{what}: input {value.name}: needs a batch axis and fixed sizes after it, got {[d or '?' for d in dims]}"
        )
    return (-1, *dims[1:]), dtype
