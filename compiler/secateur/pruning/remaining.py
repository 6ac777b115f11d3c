"""The network of some channels only, and its channel groups: what a schedule scores again after it has cut a little."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from secateur.ir import Groups, Network
from secateur.ir.groups import Axis, Keep
from secateur.pruning.cut import cut
from secateur.pruning.sort import sort_groups

Alive = Mapping[str, NDArray[np.bool_]]
"""Channel group id → whether each channel remains, shape (channels,)."""


def remaining(network: Network, groups: Groups, alive: Alive) -> tuple[Network, Groups, dict[str, NDArray[np.int64]]]:
    """Return the network of the channels that remain, as `cut` would make it.

    Args:
        network: the full network, in any order.
        groups: its channel groups.
        alive: what remains; at least one channel of each group.

    Returns:
        The network; its groups, with the ids of the full one's and the channels in ascending order; and for each table of
        the full network which of its values remain, in the small network's order.
    """
    ordered = sort_groups(network, groups, {name: mask.astype(np.float64) for name, mask in alive.items()})
    keep = {name: int(mask.sum()) for name, mask in alive.items()}
    small = cut(ordered, groups, keep)
    tables = {}
    for name, table in network.tables.items():
        places = np.arange(table.scale.size)
        for group in groups.groups:
            members = group.members.get((f"table:{name}", 0))
            if members is not None:
                order = np.argsort(~np.asarray(alive[group.id]), kind="stable")
                places[members.ravel()] = members[order].ravel()
        tables[name] = places[groups.kept((f"table:{name}", 0), table.scale.size, keep)]
    return small, shrink_groups(network, groups, keep), tables


def shrink_groups(network: Network, groups: Groups, keep: Keep) -> Groups:
    """Return the channel groups of `cut(network, groups, keep)`.

    Args:
        network: the full network.
        groups: its channel groups.
        keep: keep-counts.
    """
    found = []
    for group in groups.groups:
        members = {}
        for axis, index in group.members.items():
            left = groups.kept(axis, _size(network, axis), keep)
            members[axis] = np.searchsorted(left, index[: keep[group.id]])
        found.append(replace(group, members=members))
    return replace(groups, groups=found)


def _size(network: Network, axis: Axis) -> int:
    kind, _, name = axis[0].partition(":")
    if kind == "weight":
        return int(network.weights[name].shape[axis[1]])
    return int(network.tables[name].scale.size if kind == "table" else network.shapes[name][axis[1]])
