"""Cuts a network: drops blocks, keeps the first channels of every group and adjusts what counts channels."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from secateur.ir import Groups, Network, Table
from secateur.ir.groups import Keep
from secateur.pruning.adjustments import ADJUSTMENTS, Change


def cut(network: Network, groups: Groups, keep: Keep) -> Network:
    """Return the network that keeps the first ``keep[g]`` channels of each group and the blocks that are not 0.

    Args:
        network: the full network, its groups sorted.
        groups: its channel groups and blocks.
        keep: group id → channels kept, at least 1; block id → 0 or 1.

    Returns:
        A network of its own: weights and tables are copies. It has only the weights, tables and shapes that its nodes use.
    """
    whole, network = network, drop_blocks(network, groups, keep)

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
    change = Change(whole, groups, keep, shapes)
    nodes = [
        node.with_attrs(**ADJUSTMENTS[node.op](node, change)) if node.op in ADJUSTMENTS else node for node in network.nodes
    ]
    return replace(network, nodes=nodes, weights=weights, tables=tables, shapes=shapes)


def drop_blocks(network: Network, groups: Groups, keep: Keep) -> Network:
    """Return the network without the nodes of dropped blocks; who read a block's sum reads its skip tensor.

    Args:
        network: the full network.
        groups: its blocks.
        keep: block id → 0 or 1.
    """
    gone, instead = groups.gone(keep), groups.rewired(keep)
    if not gone:
        return network
    nodes = [
        replace(node, inputs=tuple(instead.get(name, name) for name in node.inputs))
        for node in network.nodes
        if node.output not in gone
    ]
    weights = {name for node in nodes for name in node.weights}
    tables = {node.attrs["table"] for node in nodes if node.op == "Affine"}
    return replace(
        network,
        nodes=nodes,
        weights={name: weight for name, weight in network.weights.items() if name in weights},
        tables={name: table for name, table in network.tables.items() if name in tables},
        shapes={name: shape for name, shape in network.shapes.items() if name not in gone},
    )
