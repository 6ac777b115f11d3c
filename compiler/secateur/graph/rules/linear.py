"""Fully connected layers, on the last axis of any tensor."""

from __future__ import annotations

from secateur.graph.rules.registry import rule
from secateur.graph.ties import Ties, tensor_axis, weight_axis
from secateur.ir import Node


@rule("Linear")
def linear(node: Node, ties: Ties) -> None:
    """The last axis of the input is the weight's axis 1, that of the output its axis 0; the axes before pass through."""
    x, y, weight = node.inputs[0], node.output, node.attrs["weight"]
    last = ties.rank(x) - 1
    ties.tie_tensors(x, y, range(1, last))
    ties.tie(tensor_axis(x, last), weight_axis(weight, 1))
    ties.tie(tensor_axis(y, last), weight_axis(weight, 0))
