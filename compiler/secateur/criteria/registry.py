"""The registry of criteria."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from secateur.ir import Groups, Network, Samples, SecateurError
from secateur.ir.registration import Registry

Scores = dict[str, NDArray[np.float64]]


@dataclass(frozen=True)
class Evidence:
    """What a criterion may look at.

    Attributes:
        network: in normal form; its weights are those that are scored.
        groups: its channel groups.
        inputs: a few hundred calibration samples, (samples, …), a tuple of several inputs; None if there are none.
        targets: their labels, or None.
        loss: the task's own loss of (outputs, targets), or None: then the distance to the network's own outputs stands in.
    """

    network: Network
    groups: Groups
    inputs: Samples | None = None
    targets: NDArray[Any] | None = None
    loss: Callable[[Tensor, Tensor], Tensor] | None = None


Criterion = Callable[[Evidence], Scores]
"""From evidence to group id → importance per channel, float64 (channels,), not negative; what is higher is kept longer."""

CRITERIA: Registry[Criterion] = Registry("criterion")


def criterion(name: str) -> Callable[[Criterion], Criterion]:
    """Register a function as a criterion under the name that ``--criterion`` takes."""

    def register(function: Criterion) -> Criterion:
        CRITERIA.register([name], function)
        return function

    return register


def score(name: str, evidence: Evidence) -> Scores:
    """Score every channel by the named criterion.

    Raises:
        SecateurError: if there is no such criterion.
    """
    if name not in CRITERIA:
        raise SecateurError(f"criterion {name!r}: there is none of this name; there are {', '.join(sorted(CRITERIA))}")
    return CRITERIA[name](evidence)
