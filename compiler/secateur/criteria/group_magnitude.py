"""Group magnitude: a channel is worth the norm of everything that goes with it, what makes it and what reads it.

Fang, Ma, Song, Mi, Wang: DepGraph: Towards Any Structural Pruning, CVPR 2023: the weights of all layers that are cut
together count. A channel whose filters are small may still be what the layers behind it look at; in a residual stream, which
many layers write and read, filters alone say little.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from secateur.criteria.registry import Evidence, Scores, criterion
from secateur.ir import ChannelGroup, Network


def _norms(network: Network, group: ChannelGroup) -> NDArray[np.float64]:
    total = np.zeros(group.size)
    for (name, axis), members in group.members.items():
        if name.startswith("weight:") and name.removeprefix("weight:") not in network.constants:
            weight = np.moveaxis(network.weights[name.removeprefix("weight:")].astype(np.float64), axis, 0)
            total += (weight**2).reshape(len(weight), -1).sum(1)[members].sum(1)
    return np.sqrt(total)


@criterion("group-l2")
def group_l2(evidence: Evidence) -> Scores:
    """L2 norm of the filters and of the weights that read their channels."""
    return {group.id: _norms(evidence.network, group) for group in evidence.groups.groups}
