"""Operators that work on each element by itself; softmax, which does not."""

from __future__ import annotations

from secateur.graph.rules.registry import rule
from secateur.graph.ties import Ties, tensor_axis
from secateur.ir import Node

_ACTIVATIONS = ("Relu", "LeakyRelu", "Clip", "Sigmoid", "HardSigmoid", "HardSwish", "Tanh", "Softplus", "Softsign", "Mish")
_EXPONENTIAL = ("Elu", "Selu", "Celu", "Gelu", "ThresholdedRelu")
_FUNCTIONS = ("Erf", "Exp", "Log", "Sqrt", "Pow", "Neg", "Abs", "Reciprocal", "ScalarAffine")
_LOGIC = ("Cast", "Not")


@rule(*_ACTIVATIONS, *_EXPONENTIAL, *_FUNCTIONS, *_LOGIC)
def elementwise(node: Node, ties: Ties) -> None:
    """Input and result are tied element by element."""
    ties.tie_tensors(node.inputs[0], node.output)


@rule("Softmax", "LogSoftmax")
def softmax(node: Node, ties: Ties) -> None:
    """A barrier along its axis: every element of the result depends on all of them."""
    ties.tie_tensors(node.inputs[0], node.output)
    ties.freeze(tensor_axis(node.output, node.attrs["axis"]), f"softmax {node.source} depends on all of its axis")
