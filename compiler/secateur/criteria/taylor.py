"""First-order Taylor expansion: a channel is worth the squared change of the loss that its removal promises.

Molchanov, Mallya, Tyree, Frosio, Kautz: Importance Estimation for Neural Network Pruning, CVPR 2019. With a gate of 1 on
a channel where a weight reads it, the first-order change of the loss on removing it is the gate's gradient, the sum of
gradient × activation. It is squared per sample and averaged; a channel that several weights read has the sum of what it is
worth to each. The score is the root of that, since the planner adds squares of scores.

Scores of different groups do not compare: each group has mean 1.
"""

from __future__ import annotations

import numpy as np

from secateur.criteria.gates import gate_gradients
from secateur.criteria.objective import objective
from secateur.criteria.registry import Evidence, Scores, criterion


@criterion("taylor")
def taylor(evidence: Evidence) -> Scores:
    """First-order change of the loss without the channel, squared (Molchanov et al. 2019).

    Raises:
        SecateurError: if there are no inputs.
    """
    total = {group.id: np.zeros(group.size) for group in evidence.groups.groups}
    for gradients in gate_gradients(evidence, "taylor", [objective(evidence)]):
        for group, values in gradients.items():
            total[group] += (values**2).sum((0, 1))
    return {group: np.sqrt(values) for group, values in total.items()}
