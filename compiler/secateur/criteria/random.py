"""Random scores: what any other criterion must beat, and that is not always easy.

Mittal, Bhardwaj, Khapra, Ravindran: Studying the Plasticity in Deep Convolutional Neural Networks Using Random Pruning,
2019: after long enough tuning, a random choice of channels does about as well as a learned one.

Uniform in (0, 1), the same for the same seed. Of all criteria only this one depends on the order of channels. Scores mean
nothing across groups: each group has mean 1.
"""

from __future__ import annotations

import numpy as np

from secateur.criteria.registry import Evidence, Scores, criterion


@criterion("random")
def random(evidence: Evidence) -> Scores:
    """Nothing: a seeded random order, to compare with (Mittal et al. 2019)."""
    return {
        group.id: np.random.default_rng([evidence.seed, number]).random(group.size)
        for number, group in enumerate(evidence.groups.groups)
    }
