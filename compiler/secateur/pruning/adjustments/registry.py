"""The registry of adjustments."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from secateur.ir import Groups, Network, Node
from secateur.ir.groups import Keep
from secateur.ir.registration import Registry


@dataclass(frozen=True)
class Change:
    """From the full network to a cut one.

    Attributes:
        network: the full network.
        groups: its channel groups.
        keep: keep-counts of the cut network.
        shapes: every tensor of the cut network → shape.
    """

    network: Network
    groups: Groups
    keep: Keep
    shapes: dict[str, tuple[int, ...]]

    def left(self, tensor: str, axis: int) -> NDArray[np.int64]:
        """Return which indices of a tensor's axis are left, ascending."""
        return self.groups.kept((f"tensor:{tensor}", axis), self.network.shapes[tensor][axis], self.keep)


Adjustment = Callable[[Node, Change], dict[str, Any]]
"""From a node of the full network to the attributes that the cut network needs instead of its own."""
ADJUSTMENTS: Registry[Adjustment] = Registry("adjustment of")


def adjustment(*names: str) -> Callable[[Adjustment], Adjustment]:
    """Register a function as the adjustment of these operators; most operators need none."""

    def register(function: Adjustment) -> Adjustment:
        ADJUSTMENTS.register(names, function)
        return function

    return register
