"""Iterative: cut a little of every group, recalibrate, score what remains again, and so on; no training.

Molchanov, Tyree, Karras, Aila, Kautz: Pruning Convolutional Neural Networks for Resource Efficient Inference, ICLR 2017,
prune so with training in between. What is removed in an early round ranks last.
"""

from __future__ import annotations

import numpy as np

from secateur.pruning import Ranking, keep_counts
from secateur.scheduling.registry import Material, Outcome, schedule

ROUNDS = 7
REMOVED_SHARE = 0.875
"""In the end; ladders go no further by themselves."""


@schedule("iterative")
def iterative(material: Material) -> Outcome:
    """Rank in `ROUNDS` rounds."""
    ranking, goals = Ranking(material.groups), material.statistics()
    scores, history = material.score(), []
    for share in np.linspace(0, REMOVED_SHARE, ROUNDS + 1)[1:]:
        ranking.remove(scores, keep_counts(material.groups, float(share)))
        history.append({name: mask.copy() for name, mask in ranking.alive.items()})
        scores = material.score_remaining(material.network, ranking.alive, goals)
    return Outcome(material.network, ranking.scores(scores), history)
