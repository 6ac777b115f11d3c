"""Activations and other operators that work on each element by itself; softmax, which does not."""

from __future__ import annotations

from secateur.graph.rules.registry import rule
from secateur.graph.ties import Ties, tensor_axis
from secateur.ir import Node

_UNARY = (
    "Relu",
    "LeakyRelu",
    "Clip",
    "Sigmoid",
    "HardSigmoid",
    "HardSwish",
    "Tanh",
    "Softplus",
    "Erf",
    "Exp",
    "Sqrt",
    "Neg",
)


_BROADCASTING = (
    "Add",
    "Sub",
    "Mul",
    "Div",
    "Max",
    "Min",
    "Where",
    "Equal",
    "Greater",
    "GreaterOrEqual",
    "Less",
    "LessOrEqual",
)


@rule(*_UNARY, "Abs", "Log", "Reciprocal", "Gelu", "Cast", "Not", "ScalarAffine", *_BROADCASTING)
def elementwise(node: Node, ties: Ties) -> None:
    """All operands, constants among them, and the result are tied element by element; an axis of size 1 broadcasts."""
    ties.tie_broadcast(node)


@rule("Softmax")
def softmax(node: Node, ties: Ties) -> None:
    """A barrier along its axis: every element of the result depends on all of them."""
    ties.tie_tensors(node.inputs[0], node.output)
    ties.freeze(tensor_axis(node.output, node.attrs["axis"]), f"softmax {node.source} depends on all of its axis")
