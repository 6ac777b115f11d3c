"""Recognises what frameworks write as reshapes and transpositions: channel shuffle, pixel shuffle and its inverse.

A chain is followed with the numbers of the elements instead of their values, so that what it does is known exactly.
"""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from secateur.ir import Network, Node

Order = NDArray[np.int64]
Meaning = list[tuple[str, dict[str, Any]]]
"""Operators of the normal form, one behind the other, and their attributes."""

_MOVING = ("Reshape", "Transpose", "Flatten")


def recognise_rearrangements(network: Network, shapes: dict[str, tuple[int, ...]]) -> Network:
    """Replace every chain of operators that begins with a ``Reshape`` by what it amounts to; any other stays as it is.

    Args:
        network: as the converters left it.
        shapes: every tensor → shape, −1 for the batch.
    """
    network.shapes = shapes
    readers = network.consumers()
    replaced: dict[str, list[Node]] = {}
    gone: set[str] = set()
    for node in network.nodes:
        if node.op != "Reshape" or node.output in gone:
            continue
        chain, meaning = _follow(node, network, readers)
        if meaning is None:
            continue
        gone |= {each.output for each in chain}
        replaced[node.output] = _nodes(node, chain[-1].output, meaning)
    nodes: list[Node] = []
    for node in network.nodes:
        nodes += replaced.get(node.output, [] if node.output in gone else [node])
    network.nodes = nodes
    return network


def _follow(node: Node, network: Network, readers: dict[str, list[Node]]) -> tuple[list[Node], Meaning | None]:
    """Return the shortest chain from ``node`` on that is something known, and what."""
    before = network.shapes[node.inputs[0]][1:]
    order: Order = np.arange(prod(before)).reshape(before)
    chain: list[Node] = []
    while True:
        chain.append(node)
        order = _move(order, node, network.shapes[node.output][1:])
        meaning = _meaning(before, order)
        after = readers.get(node.output, [])
        if meaning is not None or len(after) != 1 or node.output in network.outputs or after[0].op not in _MOVING:
            return chain, meaning
        node = after[0]


def _move(order: Order, node: Node, shape: tuple[int, ...]) -> Order:
    if node.op == "Transpose":
        return order.transpose([axis - 1 for axis in node.attrs["perm"][1:]])
    return order.reshape(shape)


def _meaning(before: tuple[int, ...], order: Order) -> Meaning | None:
    numbers: Order = np.arange(prod(before)).reshape(before)
    if order.shape == before:
        index = order.reshape(before[0], -1)[:, 0] // prod(before[1:])
        if (numbers[index] == order).all():
            return [("Take", {"axis": 1, "index": tuple(int(i) for i in index)})]
    if order.ndim == 1 < len(before) and (order == numbers.ravel()).all():
        return [("Flatten", {})]
    if order.ndim == len(before) == 3:
        block = order.shape[1] // before[1]
        if block > 1 and order.shape == (before[0] // block**2, before[1] * block, before[2] * block):
            for mode in ("DCR", "CRD"):
                if (depth_to_space(numbers, block, mode) == order).all():
                    return [("DepthToSpace", {"blocksize": block, "mode": mode})]
        block = before[1] // order.shape[1]
        if block > 1 and before == (order.shape[0] // block**2, order.shape[1] * block, order.shape[2] * block):
            plain = space_to_depth(numbers, block)
            if (plain == order).all():
                return [("SpaceToDepth", {"blocksize": block})]
            channels = np.arange(order.shape[0]).reshape(block**2, before[0]).T.ravel()
            if (plain[channels] == order).all():
                take = {"axis": 1, "index": tuple(int(i) for i in channels)}
                return [("SpaceToDepth", {"blocksize": block}), ("Take", take)]
    return None


def depth_to_space(x: Order, block: int, mode: str) -> Order:
    """Return what DepthToSpace makes of one sample (channels, height, width)."""
    depth, height, width = x.shape[0] // block**2, x.shape[1], x.shape[2]
    if mode == "DCR":
        parts = x.reshape(block, block, depth, height, width).transpose(2, 3, 0, 4, 1)
    else:
        parts = x.reshape(depth, block, block, height, width).transpose(0, 3, 1, 4, 2)
    return parts.reshape(depth, height * block, width * block)


def space_to_depth(x: Order, block: int) -> Order:
    """Return what SpaceToDepth makes of one sample (channels, height, width)."""
    depth, height, width = x.shape[0], x.shape[1] // block, x.shape[2] // block
    parts = x.reshape(depth, height, block, width, block).transpose(2, 4, 0, 1, 3)
    return parts.reshape(depth * block**2, height, width)


def _nodes(first: Node, output: str, meaning: Meaning) -> list[Node]:
    nodes: list[Node] = []
    x = first.inputs[0]
    for index, (op, attrs) in enumerate(meaning):
        name = output if index == len(meaning) - 1 else f"{output}:{op}"
        nodes.append(Node(op, (x,), name, attrs, first.source))
        x = name
    return nodes
