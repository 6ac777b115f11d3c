"""Operators that work on each element by itself, and softmax."""

from __future__ import annotations

import numpy as np

from secateur.export.onnx_writer import OnnxWriter
from secateur.export.operators.registry import writes
from secateur.ir import Network, Node


@writes("Relu", "Sigmoid", "Tanh", "HardSwish", "Softplus", "Erf", "Exp", "Sqrt", "Neg", "Abs", "Add", "Sub", "Mul")
def _plain(writer: OnnxWriter, network: Network, node: Node, inputs: list[str], output: str) -> str:
    return writer.node(node.op, inputs, output)


@writes("LeakyRelu", "HardSigmoid", "Softmax")
def _with_attributes(writer: OnnxWriter, network: Network, node: Node, inputs: list[str], output: str) -> str:
    return writer.node(node.op, inputs, output, **node.attrs)


@writes("Clip")
def _clip(writer: OnnxWriter, network: Network, node: Node, inputs: list[str], output: str) -> str:
    bounds = [writer.vector(np.float32(node.attrs[k])) if node.attrs.get(k) is not None else "" for k in ("min", "max")]
    return writer.node("Clip", [*inputs, *bounds], output)


@writes("ScalarAffine")
def _scalar_affine(writer: OnnxWriter, network: Network, node: Node, inputs: list[str], output: str) -> str:
    scaled = writer.node("Mul", [*inputs, writer.vector(np.float32(node.attrs["scale"]))])
    return writer.node("Add", [scaled, writer.vector(np.float32(node.attrs["shift"]))], output)
