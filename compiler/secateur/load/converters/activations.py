"""Operators that work on each element by itself, and softmax."""

from __future__ import annotations

from secateur.load.builder import Converting
from secateur.load.converters.registry import converter

_PLAIN = ("Relu", "Sigmoid", "Tanh", "HardSwish", "Softplus", "Softsign", "Mish", "Erf", "Exp", "Log", "Sqrt", "Neg", "Abs")


@converter(*_PLAIN, "Reciprocal")
def _unary(node: Converting) -> None:
    node.emit_like(node.op, node.arranged())


@converter("Gelu")
def _gelu(node: Converting) -> None:
    """Hendrycks, Gimpel: Gaussian Error Linear Units, 2016."""
    node.emit_like("Gelu", node.arranged(), approximate=node.attrs.get("approximate", b"none").decode())


@converter("Swish")
def _swish(node: Converting) -> None:
    """Ramachandran, Zoph, Le: Searching for Activation Functions, 2017."""
    x = node.arranged()
    inner = x.tensor
    if node.attrs.get("alpha", 1.0) != 1.0:
        alpha = float(node.attrs["alpha"])
        inner = node.emit("ScalarAffine", [inner], node.output + ":angle", scale=alpha, shift=0.0)
    node.emit_like("Mul", x, [node.emit("Sigmoid", [inner], node.output + ":gate")])


@converter("LeakyRelu", "HardSigmoid", "Elu", "Selu", "Celu", "ThresholdedRelu")
def _parametric(node: Converting) -> None:
    node.emit_like(node.op, node.arranged(), **{key: float(value) for key, value in node.attrs.items()})


@converter("Softmax", "LogSoftmax")
def _softmax(node: Converting) -> None:
    rank = len(node.shape())
    axis = node.attrs.get("axis", -1 if node.opset >= 13 else 1) % rank
    if node.opset < 13 and axis != rank - 1:
        raise node.fail("before opset 13 only a softmax over the last axis is supported; export with opset 13 or later")
    x = node.arranged()
    if x.axes[axis] is None:
        raise node.fail("a softmax over the batch is not supported")
    node.emit_like(node.op, x, axis=x.axes[axis])


@converter("Clip")
def _clip(node: Converting) -> None:
    bounds = {}
    for index, name in ((1, "min"), (2, "max")):
        value = node.constant(index)
        if node.has(index) and value is None:
            raise node.fail("its bounds must be constant")
        bounds[name] = float(value.item()) if value is not None else node.attrs.get(name)
    if bounds["min"] is None and bounds["max"] is None:
        node.put_view(node.view())
    else:
        node.emit_like("Clip", node.arranged(), **bounds)
