"""Operators that change the resolution: positions are frozen, channels pass through or are counted anew."""

from __future__ import annotations

from secateur.graph.rules.registry import rule
from secateur.graph.ties import Ties, tensor_axis
from secateur.ir import Node


@rule("Resize")
def resize(node: Node, ties: Ties) -> None:
    """Channels are tied one to one."""
    _positions(node, ties)
    ties.tie_tensors(node.inputs[0], node.output, [1])


@rule("DepthToSpace")
def depth_to_space(node: Node, ties: Ties) -> None:
    """Channel c of the result is made of s² channels: c, c + n, c + 2n … (DCR) or c·s² … c·s² + s² − 1 (CRD)."""
    _positions(node, ties)
    x, y = tensor_axis(node.inputs[0], 1), tensor_axis(node.output, 1)
    parts, depth = node.attrs["blocksize"] ** 2, ties.size(*y)
    for part in range(parts):
        inside = (
            range(part * depth, (part + 1) * depth) if node.attrs["mode"] == "DCR" else range(part, parts * depth, parts)
        )
        ties.tie(x, y, inside)


@rule("SpaceToDepth")
def space_to_depth(node: Node, ties: Ties) -> None:
    """Channel c becomes the channels c, c + n, c + 2n …"""
    _positions(node, ties)
    x, y = tensor_axis(node.inputs[0], 1), tensor_axis(node.output, 1)
    depth = ties.size(*x)
    for part in range(node.attrs["blocksize"] ** 2):
        ties.tie(x, y, None, range(part * depth, (part + 1) * depth))


def _positions(node: Node, ties: Ties) -> None:
    for tensor in (node.inputs[0], node.output):
        ties.freeze_spatial(tensor, f"spatial axis of {node.op} {node.source}")
