"""Distance to the geometric median: a filter that the others can replace is worth little, however large it is.

He, Liu, Wang, Hu, Yang: Filter Pruning via Geometric Median for Deep Neural Networks Acceleration, CVPR 2019. The filter
nearest to the geometric median of a layer's filters is the one with the least sum of distances to the others; that sum
is the score. Each layer's distances are divided by their mean; a channel that several layers make (a residual stream)
has the sum. Scores compare within a group only: each group has mean 1.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from secateur.criteria.registry import Evidence, Scores, criterion, normalised


@criterion("fpgm")
def fpgm(evidence: Evidence) -> Scores:
    """Distance of the filters to those of the other channels, the geometric median (He et al. 2019)."""
    scores: Scores = {}
    for group in evidence.groups.groups:
        scores[group.id] = np.zeros(group.size)
        for (name, axis), members in group.members.items():
            if name.startswith("weight:") and axis == 0:
                weight = evidence.network.weights[name.removeprefix("weight:")].astype(np.float64)
                filters = weight.reshape(len(weight), -1)[members].reshape(group.size, -1)
                scores[group.id] += normalised(_distances(filters))
    return scores


def _distances(filters: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return each row's sum of Euclidean distances to the others, shape (rows,)."""
    largest = np.abs(filters).max(initial=0.0)
    rows = filters / largest if largest > 0 else filters
    # One row at a time: the differences of all pairs at once do not fit into memory for wide layers.
    return np.array([np.sqrt(((rows - row) ** 2).sum(1)).sum() for row in rows])
