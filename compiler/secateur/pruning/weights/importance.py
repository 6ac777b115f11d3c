"""What a single weight is worth."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from secateur.ir import Node, SecateurError
from secateur.pruning.weights.registry import WeightEvidence, weight_criterion
from secateur.twin import Values, fixed_values, run

_BATCH = 64
_SAMPLES = 512


@weight_criterion("magnitude")
def magnitude(evidence: WeightEvidence) -> dict[str, NDArray[np.float64]]:
    """|w| (Han et al., NeurIPS 2015)."""
    return {name: np.abs(weight.astype(np.float64)) for name, weight in evidence.weights.items()}


class _Leaves:
    """A network's own values; the weights that are scored collect gradients."""

    def __init__(self, fixed: Values, leaves: dict[str, Tensor]) -> None:
        self._fixed, self._leaves = fixed, leaves

    def weight(self, name: str) -> Tensor:
        return self._leaves[name] if name in self._leaves else self._fixed.weight(name)

    def affine(self, node: Node, x: Tensor) -> Tensor:
        return self._fixed.affine(node, x)


@weight_criterion("taylor")
def taylor(evidence: WeightEvidence) -> dict[str, NDArray[np.float64]]:
    """|w · g|, the first-order change of the loss without the weight, as a root mean square over batches.

    Molchanov, Mallya, Tyree, Frosio, Kautz: Importance Estimation for Neural Network Pruning, CVPR 2019. With labels and a
    loss, g is the gradient of the task's loss. Without, the distance to the network's own outputs has no gradient where it
    is zero; then g is that of the outputs along random signs: its mean square is the Gauss-Newton curvature of the distance.
    """
    if evidence.inputs is None:
        raise SecateurError("sparsity criterion taylor: needs calibration data")
    network, leaves = evidence.network, {}
    for name, weight in evidence.weights.items():
        leaves[name] = torch.tensor(weight, requires_grad=True)
    values = _Leaves(fixed_values(network), leaves)
    total = {name: torch.zeros(leaf.shape, dtype=torch.float64) for name, leaf in leaves.items()}
    signs = torch.Generator().manual_seed(0)
    inputs = evidence.inputs[:_SAMPLES]
    batches = max(1, len(inputs) // _BATCH)
    for index in np.array_split(np.arange(len(inputs)), batches):
        output = next(iter(run(network, {next(iter(network.inputs)): torch.from_numpy(inputs[index])}, values).values()))
        if evidence.loss is not None and evidence.targets is not None:
            value = evidence.loss(output, torch.from_numpy(np.asarray(evidence.targets)[index]))
        else:
            value = (output * (2 * torch.randint(0, 2, output.shape, generator=signs) - 1)).sum() / len(index) ** 0.5
        gradients = torch.autograd.grad(value, list(leaves.values()), allow_unused=True)
        for (name, leaf), gradient in zip(leaves.items(), gradients):
            if gradient is not None:
                total[name] += (leaf.detach() * gradient).double() ** 2
    return {name: (value / batches).sqrt().numpy() for name, value in total.items()}
