"""Cuts a network: keeps the first channels of every group and adjusts what counts channels."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from secateur.ir import Groups, Network, Table
from secateur.ir.groups import Keep
from secateur.pruning.adjustments import ADJUSTMENTS, Change


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
            weight[np.ix_(*(kept("weight", name, axis, size) for axis, size in enumerate(weight.shape)))]
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
    change = Change(network, groups, keep, shapes)
    nodes = [
        node.with_attrs(**ADJUSTMENTS[node.op](node, change)) if node.op in ADJUSTMENTS else node for node in network.nodes
    ]
    return replace(network, nodes=nodes, weights=weights, tables=tables, shapes=shapes)
