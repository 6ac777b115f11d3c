"""Gradients of gates: by how much the loss changes, per sample, if what a weight reads of a channel is scaled.

A gate multiplies a channel by 1 before a weight reads it; its gradient is the sum of gradient × activation over the channel.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from secateur.criteria.objective import Objective
from secateur.criteria.reads import batches, reads, with_own_reads
from secateur.criteria.registry import Evidence
from secateur.ir import Groups
from secateur.twin import fixed_values, run

Gradients = dict[str, NDArray[np.float64]]
"""Group id → gradients, shape (weights that read it, samples, channels)."""


def gate_gradients(evidence: Evidence, name: str, objectives: Sequence[Objective]) -> Iterator[Gradients]:
    """Yield the gradients of all gates for each batch and objective.

    A weight's gate is its own: a shortcut around the weight is not gated, nor is another weight that reads the same tensor.

    Args:
        evidence: with inputs.
        name: of the criterion that asks.
        objectives: what is differentiated; the network runs once for all of them.

    Raises:
        SecateurError: if there are no inputs.
    """
    inputs = evidence.required_inputs(name)
    network, copies = with_own_reads(evidence.network)
    sites = [
        (copy, read) for read in reads(evidence.network, evidence.groups) for copy, of in copies.items() if of == read.tensor
    ]
    axes = {(copy, read.axis) for copy, read in sites}
    values, feed = fixed_values(network), next(iter(network.inputs))
    for part in batches(network, inputs):
        gates: dict[tuple[str, int], Tensor] = {}

        def gated(tensor: str, value: Tensor, gates: dict[tuple[str, int], Tensor] = gates) -> Tensor | None:
            result = None
            for axis in range(1, value.ndim):
                if (tensor, axis) in axes:
                    shape = [len(value)] + [size if i == axis else 1 for i, size in enumerate(value.shape) if i > 0]
                    gates[tensor, axis] = torch.ones(shape, dtype=value.dtype, requires_grad=True)
                    result = (value if result is None else result) * gates[tensor, axis]
            return result

        outputs = run(network, {feed: torch.from_numpy(np.ascontiguousarray(inputs[part]))}, values, on_tensor=gated)
        for number, objective in enumerate(objectives):
            more = number + 1 < len(objectives)
            found = _grad(objective(outputs, part), list(gates.values()), more)
            gradients = dict(zip(gates, found))
            yield _by_group(evidence.groups, [(read.group, read.of(gradients[copy, read.axis])) for copy, read in sites])


def _grad(loss: Tensor, gates: list[Tensor], retain: bool) -> list[Tensor]:
    if not gates or not loss.requires_grad:
        return [torch.zeros_like(gate) for gate in gates]
    found = torch.autograd.grad(loss, gates, retain_graph=retain, allow_unused=True)
    return [torch.zeros_like(gate) if grad is None else grad for gate, grad in zip(gates, found)]


def _by_group(groups: Groups, found: list[tuple[str, NDArray[np.float64]]]) -> Gradients:
    stacked: Gradients = {}
    for group in groups.groups:
        mine = [values for name, values in found if name == group.id]
        stacked[group.id] = np.stack(mine) if mine else np.zeros((1, 1, group.size))
    return stacked
