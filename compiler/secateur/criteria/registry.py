"""The registry of criteria."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from secateur.ir import Groups, Network, Samples, SecateurError, sample_count, single
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
        loss: the task's own loss of (outputs, targets), or None. What is differentiated without labels or loss, says
            `secateur.criteria.objective`.
        seed: of everything that is drawn at random.
        notes: what a criterion has to say about its own scores, one line each; it appends.
    """

    network: Network
    groups: Groups
    inputs: Samples | None = None
    targets: NDArray[Any] | None = None
    loss: Callable[[Tensor, Tensor], Tensor] | None = None
    seed: int = 0
    notes: list[str] = field(default_factory=list)

    def required_inputs(self, name: str) -> NDArray[np.float32]:
        """Return the calibration samples.

        Args:
            name: of the criterion that cannot do without.

        Raises:
            SecateurError: if there are none, or the network has several inputs.
        """
        if self.inputs is None or sample_count(self.inputs) == 0:
            raise SecateurError(
                f"criterion {name}: needs calibration inputs; give some, or use magnitude-l2, which needs none"
            )
        return single(self.inputs, f"criterion {name}")


Criterion = Callable[[Evidence], Scores]
"""From evidence to group id → importance per channel, float64 (channels,), not negative; what is higher is kept longer."""

CRITERIA: Registry[Criterion] = Registry("criterion")


def criterion(name: str) -> Callable[[Criterion], Criterion]:
    """Register a function under the name that ``--criterion`` takes; the first line of its docstring is its help."""

    def register(function: Criterion) -> Criterion:
        CRITERIA.register([name], function)
        return function

    return register


def descriptions() -> dict[str, str]:
    """Return the name of every criterion → one line about it, in alphabetical order."""
    return {name: (CRITERIA[name].__doc__ or "").strip().split("\n")[0] for name in sorted(CRITERIA)}


def score(name: str, evidence: Evidence) -> Scores:
    """Score every channel by the named criterion.

    Returns:
        Group id → importance per channel, float64 (channels,), finite and not negative, with mean 1 in every group (all 0 if
        the criterion finds every channel of a group worthless). Only ratios within a group mean something.

    Raises:
        SecateurError: if there is no such criterion, if it lacks what it looks at, or if the network's values are not
        finite.
    """
    if name not in CRITERIA:
        raise SecateurError(f"criterion {name!r}: there is none of this name; there are {', '.join(sorted(CRITERIA))}")
    scores = CRITERIA[name](evidence)
    for group in evidence.groups.groups:
        found = np.asarray(scores[group.id], np.float64)
        if not np.isfinite(found).all():
            raise SecateurError(
                f"criterion {name}: channels of {group.source} score NaN or infinity; check the model's weights and the"
                " calibration inputs for such values"
            )
        scores[group.id] = normalised(found)
    return scores


def normalised(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Divide by the mean, so that layers of any magnitude count alike; values that are all zero stay so.

    Args:
        values: one per channel, not negative.
    """
    largest = float(values.max(initial=0.0))
    if largest == 0.0:
        return np.zeros_like(values)
    shares = values / largest  # first, so that neither tiny nor huge values leave the range of float64
    result: NDArray[np.float64] = shares / shares.mean()
    return result
