"""Sorts every channel group by importance, most important first; the function of the network does not change."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from secateur.ir import Groups, Network, Table


def sort_groups(network: Network, groups: Groups, scores: Mapping[str, NDArray[np.float64]]) -> Network:
    """Return the same function with the channels of each group in descending order of their score.

    Args:
        network: the network.
        groups: its channel groups; they hold for the result too.
        scores: group id → score per channel, shape (channels,).
    """
    orders = {group.id: np.argsort(-np.asarray(scores[group.id], np.float64), kind="stable") for group in groups.groups}

    def permutation(kind: str, name: str, axis: int, size: int) -> NDArray[np.int64]:
        index = np.arange(size)
        for group in groups.groups:
            members = group.members.get((f"{kind}:{name}", axis))
            if members is not None:
                index[members.ravel()] = members[orders[group.id]].ravel()
        return index

    weights = {}
    for name, weight in network.weights.items():
        orders_of_axes = (permutation("weight", name, axis, size) for axis, size in enumerate(weight.shape))
        weights[name] = np.ascontiguousarray(weight[np.ix_(*orders_of_axes)])
    tables = {}
    for name, table in network.tables.items():
        index = permutation("table", name, 0, table.scale.size)
        tables[name] = Table(table.scale[index], table.shift[index])
    return network.with_values(weights, tables)
