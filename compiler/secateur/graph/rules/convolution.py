"""Convolutions, transposed ones too: dense, depthwise, and grouped, whose groups are cut alike."""

from __future__ import annotations

from secateur.graph.rules.registry import rule
from secateur.graph.ties import Ties, tensor_axis, weight_axis
from secateur.ir import Node


@rule("Conv", "ConvTranspose")
def convolution(node: Node, ties: Ties) -> None:
    """Input channels are the weight's axis 1, output channels its axis 0.

    Depthwise, channel c makes c·m … c·m + m − 1. Grouped, the same element of every group is tied, so that all groups keep
    the same number of channels and the number of groups stays (Xie et al., ResNeXt, CVPR 2017, has such convolutions).
    """
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
        taken, made = channels // groups, ties.size(*weight_axis(weight, 0)) // groups
        for group in range(groups):
            ties.tie(tensor_axis(x, 1), weight_axis(weight, 1), range(group * taken, (group + 1) * taken))
            ties.tie(tensor_axis(y, 1), tensor_axis(y, 1), range(group * made, (group + 1) * made), range(made))
