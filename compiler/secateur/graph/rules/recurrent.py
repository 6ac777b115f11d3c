"""Recurrent layers are frozen: their states feed back, and their weights stay whole."""

from __future__ import annotations

from secateur.graph.rules.registry import rule
from secateur.graph.ties import Ties, tensor_axis, weight_axis
from secateur.ir import Node


@rule("GRU", "LSTM", "RNN")
def recurrent(node: Node, ties: Ties) -> None:
    """A barrier on every axis."""
    reason = f"recurrent layer {node.source} ({node.op}) is kept whole"
    ties.keep_whole(node.source, reason)
    for name in (*node.inputs, node.output):
        for axis in range(1, ties.rank(name)):
            ties.freeze(tensor_axis(name, axis), reason)
    for name in node.constants:
        for axis in range(len(ties.network.weights[name].shape)):
            ties.freeze(weight_axis(name, axis), reason)
