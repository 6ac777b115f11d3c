"""Operators on several tensors, and on tensors and constants, which broadcast."""

from __future__ import annotations

from secateur.graph.rules.registry import rule
from secateur.graph.ties import Ties, tensor_axis
from secateur.ir import Node

_ARITHMETIC = ("Add", "Sub", "Mul", "Div", "Min", "Max", "PRelu")
_COMPARISONS = ("Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual")


@rule(*_ARITHMETIC, *_COMPARISONS, "Where")
def broadcast(node: Node, ties: Ties) -> None:
    """Axes of the result's size are tied element by element; one element that is repeated is tied to nothing."""
    ties.tie_broadcast(node)


@rule("Expand")
def expand(node: Node, ties: Ties) -> None:
    """Axes pass through, but those that are repeated are frozen."""
    for axis, repeats in enumerate(node.attrs["shape"]):
        if repeats > 1:
            ties.freeze(tensor_axis(node.output, axis), f"Expand {node.source} repeats its input along this axis")
        elif axis:
            ties.tie_tensors(node.inputs[0], node.output, [axis])
