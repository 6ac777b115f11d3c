"""Statistics of activations: a channel is worth how much, or how often, it speaks.

The mean absolute activation is the data-driven sibling of the weight norm (Molchanov, Tyree, Karras, Aila, Kautz: Pruning
Convolutional Neural Networks for Resource Efficient Inference, ICLR 2017). APoZ is from Hu, Peng, Tai, Tang:
Network Trimming: A Data-Driven Neuron Pruning Approach, 2016: a channel that is zero nearly always after its ReLU is worth
little. The score is one minus that share of zeros, so it says nothing where an activation is never exactly zero.

Both look at the tensors that weights read, that is behind the activation. Each tensor's values are divided by their mean
over the channels, and a group that is read in several tensors has the sum: all tensors count alike, whatever their
magnitude. Scores compare within a group only: each group has mean 1.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from torch import Tensor

from secateur.criteria.reads import observe, reads
from secateur.criteria.registry import Evidence, Scores, criterion, normalised


@criterion("activation")
def activation(evidence: Evidence) -> Scores:
    """Mean absolute activation, as weights read it (Molchanov et al. 2017).

    Raises:
        SecateurError: if there are no inputs.
    """
    return _mean(evidence, "activation", lambda value: value.abs())


@criterion("apoz")
def apoz(evidence: Evidence) -> Scores:
    """Share of activations that are not zero, for networks with ReLU (Hu et al. 2016).

    Raises:
        SecateurError: if there are no inputs.
    """
    return _mean(evidence, "apoz", lambda value: (value != 0).double())


def _mean(evidence: Evidence, name: str, measure: Callable[[Tensor], Tensor]) -> Scores:
    """Sum a measure over samples and positions of each channel; each tensor counts alike."""
    inputs = evidence.required_inputs(name)
    sites = reads(evidence.network, evidence.groups)
    sums = [np.zeros(len(site.members)) for site in sites]

    def add(tensor: str, value: Tensor) -> None:
        for site, total in zip(sites, sums):
            if site.tensor == tensor:
                total += site.of(measure(value)).sum(0)

    observe(evidence.network, inputs, add)
    scores = {group.id: np.zeros(group.size) for group in evidence.groups.groups}
    for site, total in zip(sites, sums):
        scores[site.group] += normalised(total)
    return scores
