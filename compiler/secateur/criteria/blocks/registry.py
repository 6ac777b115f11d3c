"""The registry of criteria for blocks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from secateur.ir import Groups, Network, SecateurError

_BATCH = 64


@dataclass(frozen=True)
class BlockEvidence:
    """What a criterion for blocks may look at.

    Attributes:
        network: the full network in normal form.
        groups: its channel groups and blocks.
        inputs: calibration samples, (samples, …) float32.
        without: block id → the network without this block, repaired on the calibration samples.
    """

    network: Network
    groups: Groups
    inputs: NDArray[np.float32]
    without: Callable[[str], Network]

    def batches(self) -> Iterator[Tensor]:
        """Return the samples in batches that bound what all tensors of a network take."""
        return (torch.from_numpy(self.inputs[i : i + _BATCH]) for i in range(0, len(self.inputs), _BATCH))


BlockCriterion = Callable[[BlockEvidence], dict[str, float]]
"""From evidence to block id → the share of the signal (energy, 0 … 1 and more) that is lost without the block."""

BLOCK_CRITERIA: dict[str, BlockCriterion] = {}


def block_criterion(name: str) -> Callable[[BlockCriterion], BlockCriterion]:
    """Register a function as a criterion under the name that ``--block-criterion`` takes."""

    def register(function: BlockCriterion) -> BlockCriterion:
        BLOCK_CRITERIA[name] = function
        return function

    return register


def score_blocks(name: str, evidence: BlockEvidence) -> dict[str, float]:
    """Score every block by the named criterion.

    Raises:
        SecateurError: if there is no such criterion.
    """
    if name not in BLOCK_CRITERIA:
        known = ", ".join(sorted(BLOCK_CRITERIA))
        raise SecateurError(f"block criterion {name!r}: there is none of this name; there are {known}")
    with torch.no_grad():
        return BLOCK_CRITERIA[name](evidence)
