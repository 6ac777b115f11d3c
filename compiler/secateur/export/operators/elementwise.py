"""Operators that work on each element by itself, and softmax."""

from __future__ import annotations

import numpy as np

from secateur.export.onnx_writer import OnnxWriter
from secateur.export.operators.registry import writes
from secateur.ir import Network, Node

_UNARY = ("Relu", "Sigmoid", "Tanh", "HardSwish", "Softplus", "Softsign", "Mish", "Erf", "Exp", "Log", "Sqrt", "Neg", "Abs")


@writes(*_UNARY, "Reciprocal", "Add", "Sub", "Mul", "Div", "Min", "Max", "PRelu")
def _plain(writer: OnnxWriter, network: Network, node: Node, inputs: list[str], output: str) -> str:
    return writer.node(node.op, inputs, output)


@writes("LeakyRelu", "HardSigmoid", "Elu", "Selu", "Celu", "ThresholdedRelu", "Softmax", "LogSoftmax")
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


@writes("Pow")
def _pow(writer: OnnxWriter, network: Network, node: Node, inputs: list[str], output: str) -> str:
    return writer.node("Pow", [*inputs, writer.vector(np.float32(node.attrs["exponent"]))], output)
