"""What is differentiated by the criteria that look at gradients.

With labels and the task's own loss it is that loss, sample by sample. Without, the obvious stand-in, the distance to the
network's own outputs, does not do: the network is its minimum, and all gradients are zero there. So labels are *drawn from
the network itself*, which makes the squared gradients those of the Fisher information (Amari: Natural Gradient Works
Efficiently in Learning, 1998):

- outputs of shape (batch, columns > 1) are logits, or probabilities if their rows sum to one: a class is drawn from each
  row, and the objective is minus its log-probability;
- any other output is the mean of a normal distribution whose deviation is the output's own: the gradient of a drawn sample's
  log-likelihood is that of a random projection of the output, so that projection is the objective.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from secateur.criteria.registry import Evidence

Objective = Callable[[Mapping[str, Tensor], slice], Tensor]
"""From outputs of a batch and which samples they are to the sum of the samples' losses."""


def objective(evidence: Evidence) -> Objective:
    """Return the task's own loss if there are labels and a loss, else labels drawn from the network."""
    return own_labels(evidence) if evidence.loss is None or evidence.targets is None else _task_loss(evidence)


def own_labels(evidence: Evidence, draw: int = 0) -> Objective:
    """Return the objective of labels drawn from the network.

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
            total = total + (_drawn_class(exact, rng) if is_classes(value) else _projection(exact, rng))
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


def _drawn_class(outputs: Tensor, rng: np.random.Generator) -> Tensor:
    rows = outputs.detach()
    probabilities = bool(rows.min() >= 0) and bool(((rows.sum(1) - 1).abs() < 1e-3).all())
    logs = outputs.clamp_min(1e-30).log() if probabilities else F.log_softmax(outputs, 1)
    edges: NDArray[np.float64] = logs.detach().exp().cumsum(1).numpy()
    drawn = (rng.random((len(edges), 1)) * edges[:, -1:] >= edges).sum(1).clip(max=edges.shape[1] - 1)
    return -logs.gather(1, torch.from_numpy(drawn)[:, None]).sum()


def _projection(outputs: Tensor, rng: np.random.Generator) -> Tensor:
    direction = torch.from_numpy(rng.standard_normal(tuple(outputs.shape)))
    deviation = outputs.detach().std(correction=0)
    return (outputs * direction).sum() / (deviation if deviation > 0 else 1.0)
