"""Relevance: a channel is worth its share in what the network decides.

Yeom, Seegerer, Lapuschkin, Binder, Wiedemann, Müller, Samek: Pruning by Explaining, Pattern Recognition 2021, with the
rules of Bach et al. 2015 (``registry``, ``layers``). The value of the class that the network chooses is shared out
backwards, layer by layer, so that its sum stays the same but for what shifts absorb; an output that is not a row of
classes is shared out whole. No labels are needed. Where the output is a softmax it begins at what that normalises: a
probability depends on a difference of logits, which has no parts to share out.

A channel's score is its absolute relevance, summed over the positions of the tensors that weights read, mean over
samples. Relevance is conserved as a sum, so tensors of any resolution count alike. Scores compare within a group only:
each has mean 1.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from secateur.criteria.lrp.propagation import propagate, record, without_rule
from secateur.criteria.lrp.registry import Settings
from secateur.criteria.objective import is_classes
from secateur.criteria.reads import batches, reads
from secateur.criteria.registry import Evidence, Scores, criterion
from secateur.ir import Network
from secateur.twin import fixed_values


@criterion("lrp")
def lrp(evidence: Evidence) -> Scores:
    """Relevance for the network's own decision, epsilon rule (Bach et al. 2015, Yeom et al. 2021).

    Raises:
        SecateurError: if there are no inputs.
    """
    return _relevance(evidence, "lrp", Settings())


@criterion("lrp-z-plus")
def lrp_z_plus(evidence: Evidence) -> Scores:
    """Relevance for the network's own decision, z+ rule: one sign of contributions (Yeom et al. 2021).

    Raises:
        SecateurError: if there are no inputs.
    """
    return _relevance(evidence, "lrp-z-plus", Settings(positive=True))


def _relevance(evidence: Evidence, name: str, settings: Settings) -> Scores:
    inputs, network = evidence.required_inputs(name), evidence.network
    sites, values, feed = reads(network, evidence.groups), fixed_values(network), next(iter(network.inputs))
    scores = {group.id: np.zeros(group.size) for group in evidence.groups.groups}
    started: set[str] = set()
    for part in batches(network, inputs):
        tensors = record(network, values, {feed: torch.from_numpy(np.ascontiguousarray(inputs[part]))})
        start = decisions(network, tensors)
        started |= set(start)
        found = propagate(network, values, tensors, start, settings).tensors
        for site in sites:
            if site.tensor in found:
                scores[site.group] += site.of(found[site.tensor].abs()).sum(0)
    skipped = {node.output for node in network.nodes if node.output in network.outputs and node.output not in started}
    for node in without_rule(network):
        if node.output not in skipped:
            evidence.notes.append(f"criterion {name}: {node.op} ({node.source}) has no rule: gradient × input stands in")
    return scores


def decisions(network: Network, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return where relevance begins, and how much there is: the value of the class that each sample is given.

    Args:
        network: in normal form.
        tensors: every tensor of a batch.
    """
    producers = network.producers()
    start: dict[str, Tensor] = {}
    for output in network.outputs:
        node = producers.get(output)
        name = node.inputs[0] if node is not None and node.op == "Softmax" and tensors[output].ndim == 2 else output
        value = tensors[name]
        if is_classes(value):
            chosen = torch.zeros_like(value).scatter_(1, value.argmax(1, keepdim=True), 1.0)
            value = value * chosen
        start[name] = start[name] + value if name in start else value
    return start
