"""Scale and shift per channel."""

from __future__ import annotations

from secateur.graph.rules.registry import rule
from secateur.graph.ties import Ties, table_axis, tensor_axis
from secateur.ir import Node


@rule("Affine")
def affine(node: Node, ties: Ties) -> None:
    """Every element passes through; the channel axis is that of the table."""
    ties.tie_tensors(node.inputs[0], node.output)
    ties.tie(tensor_axis(node.output, node.attrs["axis"]), table_axis(node.attrs["table"]))
