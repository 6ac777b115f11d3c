"""Operators that put elements of an axis together or pick them."""

from __future__ import annotations

from secateur.graph.rules.registry import rule
from secateur.graph.ties import Ties, tensor_axis
from secateur.ir import Node


@rule("Concat")
def concat(node: Node, ties: Ties) -> None:
    """Each operand's elements follow those of the operands before it."""
    y, joined, begin = node.output, node.attrs["axis"], 0
    for x in node.inputs:
        size = ties.size(*tensor_axis(x, joined))
        ties.tie(tensor_axis(x, joined), tensor_axis(y, joined), None, range(begin, begin + size))
        ties.tie_tensors(x, y, [axis for axis in range(1, ties.rank(x)) if axis != joined])
        begin += size


@rule("Take")
def take(node: Node, ties: Ties) -> None:
    """Each element of the result is the one of the input that its index names (channel shuffle: Zhang et al., CVPR 2018)."""
    x, y, along = node.inputs[0], node.output, node.attrs["axis"]
    ties.tie_tensors(x, y, [axis for axis in range(1, ties.rank(x)) if axis != along])
    ties.tie(tensor_axis(x, along), tensor_axis(y, along), node.attrs["index"])
