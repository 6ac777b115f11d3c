"""Channel groups and blocks: what can be cut, and what a set of keep-counts leaves of an axis and of the nodes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from secateur.ir.blocks import Block

Axis = tuple[str, int]
"""A tensor, weight or table, and one of its axes."""

Keep = Mapping[str, int]
"""Channel group id → number of channels kept; block id → 1 if it is kept, 0 if not. A block that is missing is kept."""


KeepKey = tuple[tuple[str, int], ...]
"""Keep-counts as something that can be a key."""


def keep_key(keep: Keep) -> KeepKey:
    """Return keep-counts as something that can be a key: the same for the same counts, in whatever order they are told."""
    return tuple(sorted(keep.items()))


@dataclass(frozen=True)
class ChannelGroup:
    """Channels that are interchangeable: each is a set of elements of axes, and all have their elements on the same axes.

    Attributes:
        id: ``g0``, ``g1``, … in the order of the network.
        source: name of the first layer in the user's model that produces these channels.
        members: axis → element indices, shape (channels, elements of a channel on this axis), channels in ascending order.
    """

    id: str
    source: str
    members: Mapping[Axis, NDArray[np.int64]]

    @property
    def size(self) -> int:
        """Number of channels in the full network."""
        return len(next(iter(self.members.values())))


@dataclass
class Groups:
    """All channel groups and blocks of a network, and the barriers that keep others from being cut.

    ``barriers`` says for a layer (by the name of its weight) why its output channels are frozen; ``block_barriers`` says for
    an addition why no branch that ends there can be dropped.
    """

    groups: list[ChannelGroup]
    barriers: dict[str, str] = field(default_factory=dict)
    blocks: list[Block] = field(default_factory=list)
    block_barriers: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._on_axis: dict[Axis, list[ChannelGroup]] = {}
        for group in self.groups:
            for axis in group.members:
                self._on_axis.setdefault(axis, []).append(group)

    def full(self) -> dict[str, int]:
        """Return the keep-counts of the full network."""
        return {group.id: group.size for group in self.groups} | {block.id: 1 for block in self.blocks}

    def dropped(self, keep: Keep) -> tuple[str, ...]:
        """Return the ids of the blocks that these keep-counts do without, in the order of the network."""
        return tuple(block.id for block in self.blocks if not keep.get(block.id, 1))

    def gone(self, keep: Keep) -> set[str]:
        """Return the tensors that are not computed: the outputs of the nodes of dropped blocks."""
        dropped = set(self.dropped(keep))
        return {name for block in self.blocks if block.id in dropped for name in block.nodes}

    def rewired(self, keep: Keep) -> dict[str, str]:
        """Return the sum of each dropped block → the tensor that is read in its place, which is itself computed."""
        dropped = set(self.dropped(keep))
        found: dict[str, str] = {}
        for block in self.blocks:  # in the order of the network: where a skip is itself a sum, it was met before
            if block.id in dropped:
                found[block.add] = found.get(block.skip, block.skip)
        return found

    def axes(self) -> list[Axis]:
        """Return every axis that some group can cut."""
        return list(self._on_axis)

    def kept(self, axis: Axis, size: int, keep: Keep) -> NDArray[np.int64]:
        """Return the indices of ``axis`` that remain, ascending.

        Args:
            axis: the tensor, weight or table and its axis.
            size: elements on that axis in the full network.
            keep: keep-counts; of each group the first channels remain.
        """
        mask = np.ones(size, bool)
        for group in self._on_axis.get(axis, ()):
            mask[group.members[axis][keep[group.id] :].ravel()] = False
        return np.flatnonzero(mask)
