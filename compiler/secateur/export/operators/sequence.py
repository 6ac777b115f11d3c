"""Products of computed tensors, reshapes, layer norm, Gelu, embeddings, constants for each sample, masks."""

from __future__ import annotations

import math

import numpy as np

from secateur.export.onnx_writer import OnnxWriter
from secateur.export.operators.registry import writes
from secateur.ir import Network, Node


@writes("MatMul", "Not")
def _plain(writer: OnnxWriter, network: Network, node: Node, inputs: list[str], output: str) -> str:
    return writer.node(node.op, inputs, output)


@writes("Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual")
def _compare(writer: OnnxWriter, network: Network, node: Node, inputs: list[str], output: str) -> str:
    if len(inputs) == 1:
        kind = np.dtype(network.dtype(node.inputs[0]))
        if kind == np.float32 and node.inputs[0] not in network.inputs:
            kind = np.dtype(np.float32)
        inputs = [*inputs, writer.vector(np.asarray(node.attrs["value"], kind))]
    return writer.node(node.op, inputs, output)


@writes("Where")
def _where(writer: OnnxWriter, network: Network, node: Node, inputs: list[str], output: str) -> str:
    computed = node.attrs["computed"]
    rest = iter(inputs[len(computed) :])
    chosen = dict(zip(computed, inputs))
    return writer.node("Where", [chosen[letter] if letter in chosen else next(rest) for letter in "cxy"], output)


@writes("Cast")
def _cast(writer: OnnxWriter, network: Network, node: Node, inputs: list[str], output: str) -> str:
    return writer.node("Cast", inputs, output, to=1)


@writes("Reshape")
def _reshape(writer: OnnxWriter, network: Network, node: Node, inputs: list[str], output: str) -> str:
    return writer.node("Reshape", [*inputs, writer.vector(np.asarray(node.attrs["shape"], np.int64))], output)


@writes("Embedding")
def _embedding(writer: OnnxWriter, network: Network, node: Node, inputs: list[str], output: str) -> str:
    return writer.node("Gather", [inputs[1], inputs[0]], output, axis=0)


@writes("PerSample")
def _per_sample(writer: OnnxWriter, network: Network, node: Node, inputs: list[str], output: str) -> str:
    batch = writer.node("Shape", inputs[:1], start=0, end=1)
    ones = writer.vector(np.ones(len(network.shapes[node.output]) - 1, np.int64))
    return writer.node("Expand", [inputs[1], writer.node("Concat", [batch, ones], axis=0)], output)


def _ones(writer: OnnxWriter, count: int) -> tuple[str, str]:
    return writer.vector(np.ones(count, "<f4")), writer.vector(np.zeros(count, "<f4"))


@writes("LayerNormalization")
def _layer_norm(writer: OnnxWriter, network: Network, node: Node, inputs: list[str], output: str) -> str:
    axis, rank = node.attrs["axis"], len(network.shapes[node.output])
    if axis == rank - 1:
        scale, shift = _ones(writer, network.shapes[node.output][axis])
        return writer.node("LayerNormalization", [*inputs, scale, shift], output, axis=-1, epsilon=node.attrs["epsilon"])
    axes = writer.vector(np.asarray([axis], np.int64))
    centred = writer.node("Sub", [*inputs, writer.node("ReduceMean", [*inputs, axes], keepdims=1)])
    variance = writer.node("ReduceMean", [writer.node("Mul", [centred, centred]), axes], keepdims=1)
    spread = writer.node("Sqrt", [writer.node("Add", [variance, writer.vector(np.float32(node.attrs["epsilon"]))])])
    return writer.node("Div", [centred, spread], output)


@writes("Gelu")
def _gelu(writer: OnnxWriter, network: Network, node: Node, inputs: list[str], output: str) -> str:
    """Written out: the operator itself came with opset 20."""
    x = inputs[0]

    def number(value: float) -> str:
        return writer.vector(np.float32(value))

    if node.attrs["approximate"] == "tanh":
        cube = writer.node("Mul", [writer.node("Mul", [x, x]), writer.node("Mul", [x, number(0.044715)])])
        inner = writer.node("Mul", [writer.node("Add", [x, cube]), number(math.sqrt(2 / math.pi))])
        bell = writer.node("Tanh", [inner])
    else:
        bell = writer.node("Erf", [writer.node("Div", [x, number(math.sqrt(2))])])
    return writer.node("Mul", [writer.node("Mul", [x, writer.node("Add", [bell, number(1)])]), number(0.5)], output)
