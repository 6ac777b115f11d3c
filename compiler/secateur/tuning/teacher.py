"""What the network that is followed gives for training samples; each is asked once, if answers are small enough to keep."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from secateur.ir import Network, Samples, sample_count, take
from secateur.twin import feeds, fixed_values, run

MOST = 1 << 25
"""Elements of outputs that are kept."""


class Teacher:
    """Answers for samples of a training set.

    Args:
        network: that is followed, with its own weights and tables.
        inputs: the training set, (samples, …).
    """

    def __init__(self, network: Network, inputs: Samples) -> None:
        self._network, self._inputs, self._values = network, inputs, fixed_values(network)
        count = sample_count(inputs)
        elements = sum(math.prod(shape[1:]) for shape in network.outputs.values())
        self._keeps = count * elements <= MOST
        self._known = np.zeros(count, bool)
        self._kept: dict[str, Tensor] = {}

    def __call__(self, chosen: NDArray[np.int64]) -> dict[str, Tensor]:
        """Return the outputs for these samples.

        Args:
            chosen: indices, (batch,).
        """
        if not self._keeps:
            return self._run(chosen)
        missing = np.unique(chosen[~self._known[chosen]])
        if missing.size:
            for name, value in self._run(missing).items():
                if name not in self._kept:
                    self._kept[name] = torch.zeros((len(self._known), *value.shape[1:]), dtype=value.dtype)
                self._kept[name][torch.from_numpy(missing)] = value
            self._known[missing] = True
        index = torch.from_numpy(np.asarray(chosen))
        return {name: kept[index] for name, kept in self._kept.items()}

    def _run(self, chosen: NDArray[np.int64]) -> dict[str, Tensor]:
        with torch.no_grad():
            return run(self._network, feeds(self._network, take(self._inputs, chosen)), self._values)
