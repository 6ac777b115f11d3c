"""Cuts a network: keeps the first channels of every group and adjusts what counts channels."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from secateur.ir import Groups, Network, Node, Table
from secateur.ir.groups import Keep


def cut(network: Network, groups: Groups, keep: Keep) -> Network:
    """Return the network that keeps the first ``keep[g]`` channels of each group.

    Args:
        network: the full network, its groups sorted.
        groups: its channel groups.
        keep: group id → channels kept, at least 1.

    Returns:
        A network of its own: weights and tables are copies.
    """

    def kept(kind: str, name: str, axis: int, size: int) -> np.ndarray:
        return groups.kept((f"{kind}:{name}", axis), size, keep)

    weights = {
        name: np.ascontiguousarray(
            weight[np.ix_(kept("weight", name, 0, weight.shape[0]), kept("weight", name, 1, weight.shape[1]))]
        )
        for name, weight in network.weights.items()
    }
    tables: dict[str, Table] = {}
    for name, table in network.tables.items():
        index = kept("table", name, 0, table.scale.size)
        tables[name] = Table(table.scale[index], table.shift[index])
    shapes = {
        name: (-1, *(len(kept("tensor", name, axis, size)) for axis, size in enumerate(shape[1:], start=1)))
        for name, shape in network.shapes.items()
    }
    nodes = [_adjust(node, network, groups, keep, shapes) for node in network.nodes]
    return replace(network, nodes=nodes, weights=weights, tables=tables, shapes=shapes)


def _adjust(node: Node, network: Network, groups: Groups, keep: Keep, shapes: dict[str, tuple[int, ...]]) -> Node:
    x = node.inputs[0]
    if node.op == "Conv" and node.attrs["groups"] == network.shapes[x][1] > 1:
        return node.with_attrs(groups=shapes[x][1])
    if node.op == "Pad":
        begins, ends = list(node.attrs["begins"]), list(node.attrs["ends"])
        for axis in range(1, len(begins)):
            size = network.shapes[node.output][axis]
            left = groups.kept((f"tensor:{node.output}", axis), size, keep)
            first, last = begins[axis], size - ends[axis]
            begins[axis], ends[axis] = int((left < first).sum()), int((left >= last).sum())
        return node.with_attrs(begins=tuple(begins), ends=tuple(ends))
    if node.op == "Slice":
        starts, stops = list(node.attrs["starts"]), list(node.attrs["stops"])
        for index, axis in enumerate(node.attrs["axes"]):
            if node.attrs["steps"][index] == 1:
                left = groups.kept((f"tensor:{x}", axis), network.shapes[x][axis], keep)
                starts[index], stops[index] = int((left < starts[index]).sum()), int((left < stops[index]).sum())
        return node.with_attrs(starts=tuple(starts), stops=tuple(stops))
    return node
