"""Diagonal Fisher information: a channel is worth the second-order change of the loss that its removal causes.

Theis, Korshunova, Tejani, Huszár: Faster Gaze Prediction with Dense Networks and Fisher Pruning, 2018; Liu, Zhang,
Kuang, Zhou, Xue, Wang, Chen, Yang, Liao, Zhang: Group Fisher Pruning for Practical Network Compression, ICML 2021. At a
minimum of the loss the first order vanishes, and the second is half the Hessian's diagonal, which the Fisher information
stands for: the mean squared gradient of a gate. The layers that read a tied channel lose it together, so their gradients
are added *before* they are squared (Liu et al.); that, and the labels, set this apart from `taylor`.

The labels are the network's own (`secateur.criteria.objective`), as the definition of the Fisher information has it,
drawn `DRAWS` times for each sample; the papers take the data's labels, which a trained network almost always agrees
with. So labels and losses change nothing here. The score is the root of the information, since the planner adds squares.
Scores compare within a group only: each group has mean 1.
"""

from __future__ import annotations

import numpy as np

from secateur.criteria.gates import gate_gradients
from secateur.criteria.objective import own_labels
from secateur.criteria.registry import Evidence, Scores, criterion

DRAWS = 4
"""Labels drawn for each sample; more are less noisy, and each costs a backward pass."""


@criterion("fisher")
def fisher(evidence: Evidence) -> Scores:
    """Second-order change of the loss without the channel; needs no labels (Theis et al. 2018, Liu et al. 2021).

    Raises:
        SecateurError: if there are no inputs.
    """
    total = {group.id: np.zeros(group.size) for group in evidence.groups.groups}
    for gradients in gate_gradients(evidence, "fisher", [own_labels(evidence, draw) for draw in range(DRAWS)]):
        for group, values in gradients.items():
            total[group] += (values.sum(0) ** 2).sum(0)
    return {group: np.sqrt(values) for group, values in total.items()}
