"""Magnitude: a channel is worth the norm of the filters that make it.

Li, Kadav, Durdanovic, Samet, Graf: Pruning Filters for Efficient ConvNets, ICLR 2017 (L1); the L2 norm is the usual variant.
A channel that several layers make (a residual stream) has the mean of its norms, each layer's divided by that layer's mean.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from secateur.criteria.registry import Evidence, Scores, criterion
from secateur.ir import ChannelGroup, Network


def _norms(network: Network, group: ChannelGroup, order: int) -> NDArray[np.float64]:
    total = np.zeros(group.size)
    floating = network.constants
    for (name, axis), members in group.members.items():
        if name.startswith("weight:") and axis == 0 and name.removeprefix("weight:") not in floating:
            weight = np.abs(network.weights[name.removeprefix("weight:")].astype(np.float64))
            rows = (weight**order).reshape(len(weight), -1).sum(1)[members].sum(1) ** (1 / order)
            total += rows / max(rows.mean(), 1e-30)
    return total


@criterion("magnitude-l2")
def magnitude_l2(evidence: Evidence) -> Scores:
    """L2 norm of the filters."""
    return {group.id: _norms(evidence.network, group, 2) for group in evidence.groups.groups}


@criterion("magnitude-l1")
def magnitude_l1(evidence: Evidence) -> Scores:
    """L1 norm of the filters."""
    return {group.id: _norms(evidence.network, group, 1) for group in evidence.groups.groups}
