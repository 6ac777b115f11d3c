"""How far a network's outputs are from those of another; what distillation minimises and sensitivity measures."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def output_distance(got: Tensor, expected: Tensor, temperature: float = 1.0) -> Tensor:
    """Return the distance of ``got`` from ``expected``, a scalar, 0 if they are equal.

    Kullback-Leibler divergence of the classes, softened by ``temperature`` (Hinton, Vinyals, Dean: Distilling the Knowledge
    in a Neural Network, 2015), for outputs (batch, classes); for other outputs the mean squared error over the variance.

    Args:
        got: of the network in question, (batch, …); logits or probabilities.
        expected: of the reference, of the same shape.
        temperature: divides logits.
    """
    if got.ndim == 2 and got.shape[1] > 1:
        if _are_probabilities(expected):  # their logarithms are logits, but for a constant
            got, expected = got.clamp_min(1e-7).log(), expected.clamp_min(1e-7).log()
        student = F.log_softmax(got / temperature, 1)
        teacher = F.log_softmax(expected / temperature, 1)
        return F.kl_div(student, teacher, log_target=True, reduction="batchmean") * temperature**2
    return F.mse_loss(got, expected) / expected.var().clamp_min(1e-12)


def _are_probabilities(outputs: Tensor) -> bool:
    return bool(outputs.min() >= 0) and bool(((outputs.sum(1) - 1).abs() < 1e-3).all())
