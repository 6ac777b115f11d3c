"""Operators on several tensors, and on tensors and constants, which broadcast."""

from __future__ import annotations

from secateur.graph.rules.registry import rule
from secateur.graph.ties import Ties, tensor_axis, weight_axis
from secateur.ir import Node


@rule("Add", "Sub", "Mul", "Div", "Min", "Max", "PRelu")
def broadcast(node: Node, ties: Ties) -> None:
    """Axes of the result's size are tied element by element; one element that is repeated is tied to nothing."""
    y = node.output
    for axis in range(1, ties.rank(y)):
        result = tensor_axis(y, axis)
        operands = [tensor_axis(name, axis) for name in node.inputs] + [weight_axis(name, axis) for name in node.constants]
        for operand in operands:
            if ties.size(*operand) == ties.size(*result):
                ties.tie(operand, result)
        if not any(ties.size(*tensor_axis(name, axis)) == ties.size(*result) for name in node.inputs):
            ties.freeze(result, f"{node.op} {node.source} repeats its input along this axis")


@rule("Expand")
def expand(node: Node, ties: Ties) -> None:
    """Axes pass through, but those that are repeated are frozen."""
    for axis, repeats in enumerate(node.attrs["shape"]):
        if repeats > 1:
            ties.freeze(tensor_axis(node.output, axis), f"Expand {node.source} repeats its input along this axis")
        elif axis:
            ties.tie_tensors(node.inputs[0], node.output, [axis])
