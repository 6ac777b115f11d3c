"""What is differentiated by the criteria that look at gradients.

With labels and the task's own loss it is that loss, sample by sample; with integer labels of classes and no loss, minus
the label's log-probability. Without labels, the obvious stand-in, the distance to the network's own outputs, does not do:
the network is its minimum, and all gradients are zero there. So the labels are the *network's own*, drawn from what it
predicts; the mean squared gradient is then the Fisher information (Amari: Natural Gradient Works Efficiently in Learning,
1998):

- Outputs of shape (batch, columns > 1) are logits, or probabilities if their rows sum to one. The gradient of a drawn
  class's log-probability at the logits has mean 0 and covariance diag(p) − p·pᵀ. A confident network would hardly ever
  draw another
  class than its first, whose gradient is almost zero, so in place of the class a normal vector of that covariance is drawn:
  in expectation all squares are the same, with far less variance.
- Any other output is the mean of a normal distribution whose deviation is the output's own. The gradient of a drawn sample's
  log-likelihood is then that of a random projection of the output.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from secateur.criteria.registry import Evidence

Objective = Callable[[Mapping[str, Tensor], slice], Tensor]
"""From outputs of a batch and which samples they are to the sum of the samples' losses."""


def objective(evidence: Evidence) -> Objective:
    """Return the loss of the evidence's labels if it has any that it can use, else that of drawn ones."""
    if evidence.targets is None:
        return own_labels(evidence)
    return _class_labels(evidence) if evidence.loss is None else _task_loss(evidence)


def own_labels(evidence: Evidence, draw: int = 0) -> Objective:
    """Return the objective of the network's own labels.

    Args:
        evidence: its seed decides what is drawn.
        draw: number of the draw; each gives other labels.
    """

    def losses(outputs: Mapping[str, Tensor], samples: slice) -> Tensor:
        total = torch.zeros((), dtype=torch.float64)
        for number, value in enumerate(outputs.values()):
            rng = np.random.default_rng([evidence.seed, draw, number, samples.start])
            # Double: of a confident network the gradient is too small for a difference of float32 values.
            exact = value.double()
            total = total + (_class_projection(exact, rng) if is_classes(value) else _projection(exact, rng))
        return total

    return losses


def is_classes(outputs: Tensor) -> bool:
    """Whether an output holds a value per class."""
    return outputs.ndim == 2 and outputs.shape[1] > 1


def _task_loss(evidence: Evidence) -> Objective:
    loss, targets = evidence.loss, np.asarray(evidence.targets)
    assert loss is not None

    def losses(outputs: Mapping[str, Tensor], samples: slice) -> Tensor:
        first, labels = next(iter(outputs.values())), torch.from_numpy(np.ascontiguousarray(targets[samples]))
        # One by one, since the loss may be a mean or a sum over the batch.
        return torch.stack([loss(first[i : i + 1], labels[i : i + 1]).double().sum() for i in range(len(first))]).sum()

    return losses


def _class_labels(evidence: Evidence) -> Objective:
    """Return minus the log-probability of integer labels; of other targets without a loss nothing is known."""
    targets, drawn = np.asarray(evidence.targets), own_labels(evidence)
    integers = targets.ndim == 1 and np.issubdtype(targets.dtype, np.integer) and targets.min(initial=0) >= 0

    def losses(outputs: Mapping[str, Tensor], samples: slice) -> Tensor:
        first = next(iter(outputs.values()))
        if not integers or not is_classes(first) or targets.max(initial=0) >= first.shape[1]:
            return drawn(outputs, samples)
        labels = torch.from_numpy(targets[samples].astype(np.int64))
        return -_log_probabilities(first.double()).gather(1, labels[:, None]).sum()

    return losses


def _log_probabilities(outputs: Tensor) -> Tensor:
    rows = outputs.detach()
    probabilities = bool(rows.min() >= 0) and bool(((rows.sum(1) - 1).abs() < 1e-3).all())
    return outputs.clamp_min(1e-30).log() if probabilities else F.log_softmax(outputs, 1)


def _class_projection(outputs: Tensor, rng: np.random.Generator) -> Tensor:
    logs = _log_probabilities(outputs)
    root = logs.detach().exp().sqrt()
    normal = root * torch.from_numpy(rng.standard_normal(tuple(outputs.shape)))
    direction = normal - root**2 * normal.sum(1, keepdim=True)  # covariance diag(p) − p·pᵀ
    return (logs * direction).sum()


def _projection(outputs: Tensor, rng: np.random.Generator) -> Tensor:
    direction = torch.from_numpy(rng.standard_normal(tuple(outputs.shape)))
    deviation = outputs.detach().std(correction=0)
    return (outputs * direction).sum() / (deviation if deviation > 0 else 1.0)
