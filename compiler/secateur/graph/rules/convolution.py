"""Convolutions: dense and depthwise. A grouped convolution that is neither is a barrier."""

from __future__ import annotations

from secateur.graph.rules.registry import rule
from secateur.graph.ties import Ties, tensor_axis, weight_axis
from secateur.ir import Node


@rule("Conv")
def convolution(node: Node, ties: Ties) -> None:
    """Input channels are the weight's axis 1, output channels its axis 0; depthwise, channel c makes c·m … c·m + m − 1."""
    x, y, weight = node.inputs[0], node.output, node.attrs["weight"]
    for tensor in (x, y):
        ties.freeze_spatial(tensor, "spatial axis of a convolution")
    ties.tie(tensor_axis(y, 1), weight_axis(weight, 0))
    groups = node.attrs["groups"]
    channels = ties.size(*tensor_axis(x, 1))
    if groups == 1:
        ties.tie(tensor_axis(x, 1), weight_axis(weight, 1))
    elif groups == channels:
        multiplier = ties.size(*weight_axis(weight, 0)) // groups
        for offset in range(multiplier):
            ties.tie(tensor_axis(x, 1), weight_axis(weight, 0), None, range(offset, channels * multiplier, multiplier))
    else:
        reason = f"grouped convolution {node.source} ({groups} groups)"
        ties.freeze(tensor_axis(x, 1), reason)
        ties.freeze(weight_axis(weight, 0), reason)
