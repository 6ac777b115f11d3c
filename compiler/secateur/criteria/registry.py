"""The registry of criteria."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from secateur.ir import Groups, Network, SecateurError

Scores = dict[str, NDArray[np.float64]]
Criterion = Callable[[Network, Groups], Scores]
"""From a network and its groups to group id → importance per channel, shape (channels,), higher is kept longer."""

CRITERIA: dict[str, Criterion] = {}


def criterion(name: str) -> Callable[[Criterion], Criterion]:
    """Register a function as a criterion under the name that ``--criterion`` takes."""

    def register(function: Criterion) -> Criterion:
        CRITERIA[name] = function
        return function

    return register


def score(name: str, network: Network, groups: Groups) -> Scores:
    """Score every channel by the named criterion.

    Raises:
        SecateurError: if there is no such criterion.
    """
    if name not in CRITERIA:
        raise SecateurError(f"criterion {name!r}: there is none of this name; there are {', '.join(sorted(CRITERIA))}")
    return CRITERIA[name](network, groups)
