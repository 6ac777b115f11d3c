"""Batch-norm scale: a channel is worth what its normalisation multiplies it by.

Liu, Li, Shen, Huang, Yan, Zhang: Learning Efficient Convolutional Networks through Network Slimming, ICCV 2017. In
normal form a batch norm is folded into a table with ``scale = gamma / deviation``, and gamma alone is gone. A normalised
channel has deviation |gamma|, so with calibration inputs the deviation of a table's *output* is the score; this also
works where batch norm was folded into the weights before. Without inputs it is |scale| times the norm of the filter,
which stands for the deviation.

A channel that passes several tables (a residual stream, an expanded and depthwise convolved one) has the sum, each table's
values divided by their mean. Scores compare within a group only: each group has mean 1.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from secateur.criteria.reads import observe
from secateur.criteria.registry import Evidence, Scores, criterion, normalised
from secateur.ir import Network, sample_count


@criterion("batch-norm-scale")
def batch_norm_scale(evidence: Evidence) -> Scores:
    """Size of batch norm's gamma; with inputs measured as the deviation (Liu et al., Network Slimming 2017)."""
    inputs, network = evidence.inputs, evidence.network
    unmeasured = inputs is None or sample_count(inputs) == 0
    gammas = _from_weights(network) if unmeasured else _measured(network, evidence.required_inputs("batch-norm-scale"))
    scores: Scores = {}
    for group in evidence.groups.groups:
        scores[group.id] = np.zeros(group.size)
        for (name, _), members in group.members.items():
            if name.startswith("table:"):
                gamma = gammas[name.removeprefix("table:")][members]
                scores[group.id] += normalised(np.sqrt((gamma**2).sum(1)))
    return scores


def _from_weights(network: Network) -> dict[str, NDArray[np.float64]]:
    """Return |scale| · ‖filter‖ of every table; of a table that is not behind a weight, |scale|."""
    producers, found = network.producers(), {}
    for node in network.nodes:
        if node.op == "Affine":
            table = node.attrs["table"]
            found[table] = np.abs(network.tables[table].scale.astype(np.float64))
            before = producers.get(node.inputs[0])
            if before is not None and "weight" in before.attrs:
                weight = network.weights[before.attrs["weight"]].astype(np.float64)
                found[table] = found[table] * np.linalg.norm(weight.reshape(len(weight), -1), axis=1)
    return found


def _measured(network: Network, inputs: NDArray[np.float32]) -> dict[str, NDArray[np.float64]]:
    """Return the deviation of every table's output."""
    nodes = {node.output: node for node in network.nodes if node.op == "Affine"}
    sums: dict[str, list[Tensor]] = {}
    count: dict[str, int] = {}

    def add(tensor: str, value: Tensor) -> None:
        if tensor in nodes:
            table, axis = nodes[tensor].attrs["table"], nodes[tensor].attrs["axis"]
            flat = value.double().transpose(0, axis).reshape(value.shape[axis], -1)
            moments = sums.setdefault(table, [torch.zeros_like(flat[:, 0]), torch.zeros_like(flat[:, 0])])
            moments[0] += flat.sum(1)
            moments[1] += (flat**2).sum(1)
            count[table] = count.get(table, 0) + flat.shape[1]

    observe(network, inputs, add)
    found = {}
    for table, (first, second) in sums.items():
        mean = first / count[table]
        found[table] = (second / count[table] - mean**2).clamp_min(0).sqrt().numpy()
    return found
