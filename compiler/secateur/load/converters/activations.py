"""Operators that work on each element by itself, and softmax."""

from __future__ import annotations

from secateur.load.builder import Converting
from secateur.load.converters.registry import converter


@converter("Relu", "Sigmoid", "Tanh", "HardSwish", "Softplus", "Erf", "Exp", "Sqrt", "Neg", "Abs")
def _unary(node: Converting) -> None:
    node.emit(node.op)


@converter("LeakyRelu", "HardSigmoid")
def _parametric(node: Converting) -> None:
    node.emit(node.op, **{key: float(value) for key, value in node.attrs.items()})


@converter("Softmax")
def _softmax(node: Converting) -> None:
    rank = len(node.shape())
    axis = node.attrs.get("axis", -1 if node.opset >= 13 else 1) % rank
    if node.opset < 13 and axis != rank - 1:
        raise node.fail("before opset 13 only a softmax over the last axis is supported; export with opset 13 or later")
    node.emit("Softmax", axis=axis)


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
