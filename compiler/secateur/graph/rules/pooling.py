"""Pools and other reductions: what is reduced is frozen, the rest passes through."""

from __future__ import annotations

from secateur.graph.rules.registry import rule
from secateur.graph.ties import Ties, tensor_axis
from secateur.ir import Node


@rule("MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool", "InstanceNormalization")
def pool(node: Node, ties: Ties) -> None:
    """Channels are tied one to one."""
    x, y = node.inputs[0], node.output
    ties.tie(tensor_axis(x, 1), tensor_axis(y, 1))
    for tensor in (x, y):
        ties.freeze_spatial(tensor, f"spatial axis of {node.op} {node.source}")


@rule("ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceL2")
def reduction(node: Node, ties: Ties) -> None:
    """Every element of the result depends on all of the reduced axes."""
    x = node.inputs[0]
    for axis in range(1, ties.rank(x)):
        if axis in node.attrs["axes"]:
            ties.freeze(tensor_axis(x, axis), f"reduction {node.op} {node.source} depends on all of its axis")
        else:
            ties.tie_tensors(x, node.output, [axis])
