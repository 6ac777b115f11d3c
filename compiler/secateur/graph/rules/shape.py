"""Operators that move elements: flatten, transpose, pad, slice."""

from __future__ import annotations

import numpy as np

from secateur.graph.rules.registry import rule
from secateur.graph.rules.reshape import reshape
from secateur.graph.ties import Ties, tensor_axis
from secateur.ir import Node


@rule("Flatten")
def flatten(node: Node, ties: Ties) -> None:
    """Channel c becomes the features c·s … c·s + s − 1, s being the number of positions; positions are frozen.

    If axis 1 is not channels (positions come first in a transformer), a later axis may be: as with any reshape.
    """
    x, y = node.inputs[0], node.output
    shape = ties.network.shapes[x]
    if shape[1] == 1 or ties.reason(tensor_axis(x, 1), 0) is not None:
        reshape(node, ties)
        return
    positions = int(np.prod(shape[2:], dtype=np.int64))
    for position in range(positions):
        ties.tie(tensor_axis(x, 1), tensor_axis(y, 1), None, range(position, shape[1] * positions, positions))
    ties.freeze_spatial(x, "spatial axis that is flattened")


@rule("Transpose")
def transpose(node: Node, ties: Ties) -> None:
    """Axes change places."""
    for axis, source in enumerate(node.attrs["perm"]):
        if axis:
            ties.tie(tensor_axis(node.inputs[0], source), tensor_axis(node.output, axis))


@rule("Pad")
def pad(node: Node, ties: Ties) -> None:
    """The input's elements follow the zeros that are put before them."""
    x, y = node.inputs[0], node.output
    for axis in range(1, ties.rank(x)):
        begin, size = node.attrs["begins"][axis], ties.size(*tensor_axis(x, axis))
        ties.tie(tensor_axis(x, axis), tensor_axis(y, axis), None, range(begin, begin + size))


@rule("ReflectPad")
def reflect_pad(node: Node, ties: Ties) -> None:
    """The padded axis is frozen: some of its elements are there twice."""
    x, y = node.inputs[0], node.output
    last = ties.rank(x) - 1
    ties.tie_tensors(x, y, range(1, last))
    for name in (x, y):
        ties.freeze(tensor_axis(name, last), f"padding {node.source} by reflection")


@rule("Slice")
def slice_(node: Node, ties: Ties) -> None:
    """The output's elements are the chosen ones of the input."""
    x, y = node.inputs[0], node.output
    chosen = {
        axis: range(start, stop, step)
        for axis, start, stop, step in zip(
            node.attrs["axes"], node.attrs["starts"], node.attrs["stops"], node.attrs["steps"]
        )
    }
    for axis in range(1, ties.rank(x)):
        ties.tie(tensor_axis(x, axis), tensor_axis(y, axis), chosen.get(axis))
        if axis in chosen and chosen[axis].step != 1:
            ties.freeze(tensor_axis(x, axis), f"slice {node.source} with a step")
