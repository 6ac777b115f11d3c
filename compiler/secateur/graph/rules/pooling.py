"""Pools: channels pass through, spatial axes do not."""

from __future__ import annotations

from secateur.graph.rules.registry import rule
from secateur.graph.ties import Ties, tensor_axis
from secateur.ir import Node


@rule("MaxPool", "AveragePool", "GlobalAveragePool")
def pool(node: Node, ties: Ties) -> None:
    """Channels are tied one to one."""
    x, y = node.inputs[0], node.output
    ties.tie(tensor_axis(x, 1), tensor_axis(y, 1))
    for tensor in (x, y):
        ties.freeze_spatial(tensor, "spatial axis of a pool")
