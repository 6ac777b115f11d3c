"""Operators that work on each element by itself, and softmax."""

from __future__ import annotations

import math

from secateur.load.builder import Converting
from secateur.load.converters.registry import converter

_PLAIN = ("Relu", "Sigmoid", "Tanh", "HardSwish", "Softplus", "Softsign", "Mish", "Erf", "Exp", "Log", "Sqrt", "Neg", "Abs")


@converter(*_PLAIN, "Reciprocal")
def _unary(node: Converting) -> None:
    node.emit(node.op)


@converter("LeakyRelu", "HardSigmoid", "Elu", "Selu", "Celu", "ThresholdedRelu")
def _parametric(node: Converting) -> None:
    node.emit(node.op, **{key: float(value) for key, value in node.attrs.items()})


@converter("Softmax", "LogSoftmax")
def _softmax(node: Converting) -> None:
    rank = len(node.shape())
    axis = node.attrs.get("axis", -1 if node.opset >= 13 else 1) % rank
    if node.opset < 13 and axis != rank - 1:
        raise node.fail("before opset 13 only a softmax over the last axis is supported; export with opset 13 or later")
    node.emit(node.op, axis=axis)


@converter("Clip")
def _clip(node: Converting) -> None:
    bounds = {}
    for index, name in ((1, "min"), (2, "max")):
        value = node.constant(index)
        if node.has(index) and value is None:
            raise node.fail("its bounds must be constant")
        bounds[name] = float(value.item()) if value is not None else node.attrs.get(name)
    if bounds["min"] is None and bounds["max"] is None:
        node.alias(node.inputs[0])
    else:
        node.emit("Clip", **bounds)


@converter("Gelu")
def _gelu(node: Converting) -> None:
    """Hendrycks, Gimpel: Gaussian Error Linear Units, 2016. Written out: the operator is younger than what boards run."""
    x, name = node.inputs[0], node.output
    if node.attrs.get("approximate", b"none") == b"tanh":
        cube = node.emit("Pow", None, name + ":cube", exponent=3.0)
        part = node.emit("ScalarAffine", [cube], name + ":part", scale=0.044715, shift=0.0)
        inner = node.emit("Add", [x, part], name + ":inner")
        angle = node.emit("ScalarAffine", [inner], name + ":angle", scale=math.sqrt(2 / math.pi), shift=0.0)
        curve = node.emit("Tanh", [angle], name + ":curve")
    else:
        curve = node.emit(
            "Erf", [node.emit("ScalarAffine", None, name + ":angle", scale=math.sqrt(0.5), shift=0.0)], name + ":curve"
        )
    node.emit("Mul", [x, node.emit("ScalarAffine", [curve], name + ":gate", scale=0.5, shift=0.5)])


@converter("Swish")
def _swish(node: Converting) -> None:
    """Ramachandran, Zoph, Le: Searching for Activation Functions, 2017."""
    inner = node.inputs[0]
    if node.attrs.get("alpha", 1.0) != 1.0:
        inner = node.emit("ScalarAffine", None, node.output + ":angle", scale=float(node.attrs["alpha"]), shift=0.0)
    node.emit("Mul", [node.inputs[0], node.emit("Sigmoid", [inner], node.output + ":gate")])
