"""The registries of sparsity patterns and of criteria for single weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from secateur.ir import Network, SecateurError
from secateur.pruning.weights.n_of_m import masked, parse_n_of_m

Array = NDArray[np.float32]
Weights = Mapping[str, Array]
Scores = Mapping[str, NDArray[np.float64]]
"""Weight → importance of each element, of the weight's shape, not negative."""

Pattern = Callable[[Weights, Scores, float], dict[str, Array]]
"""From weights, scores and an amount to the weights that remain, zeros elsewhere."""


@dataclass(frozen=True)
class WeightEvidence:
    """What a criterion for single weights may look at.

    Attributes:
        network: in normal form, as it runs.
        inputs: calibration samples, (samples, …) float32; None if there are none.
        targets: their labels, or None.
        loss: the task's own loss of (outputs, targets), or None: then what moves the outputs counts.
    """

    network: Network
    inputs: Array | None = None
    targets: NDArray[Any] | None = None
    loss: Callable[[Tensor, Tensor], Tensor] | None = None

    @property
    def weights(self) -> dict[str, Array]:
        """Weights that may be pruned: those of convolutions and fully connected layers."""
        return {name: w for name, w in self.network.weights.items() if name not in self.network.constants}


WeightCriterion = Callable[[WeightEvidence], dict[str, NDArray[np.float64]]]

PATTERNS: dict[str, Pattern] = {}
_RATIOS: set[str] = set()
WEIGHT_CRITERIA: dict[str, WeightCriterion] = {}


def pattern(name: str, ratio: bool) -> Callable[[Pattern], Pattern]:
    """Register a function as the pattern that ``--sparsity-pattern`` takes.

    Args:
        name: of the pattern.
        ratio: whether its amount is a share of weights, 0 to 1, and not a threshold.
    """

    def register(function: Pattern) -> Pattern:
        PATTERNS[name] = function
        if ratio:
            _RATIOS.add(name)
        return function

    return register


def weight_criterion(name: str) -> Callable[[WeightCriterion], WeightCriterion]:
    """Register a function as the criterion that ``--sparsity-criterion`` takes."""

    def register(function: WeightCriterion) -> WeightCriterion:
        WEIGHT_CRITERIA[name] = function
        return function

    return register


def check_pattern(name: str, amount: float, criterion: str) -> bool:
    """Return whether any weight is to be pruned.

    Args:
        name: a registered pattern or ``N:M``.
        amount: share of zeros, or the threshold of the pattern ``value``; 0 prunes nothing. N:M needs none.
        criterion: a registered criterion.

    Raises:
        SecateurError: if the pattern, amount or criterion cannot be.
    """
    if criterion not in WEIGHT_CRITERIA:
        known = ", ".join(sorted(WEIGHT_CRITERIA))
        raise SecateurError(f"sparsity criterion {criterion!r}: there is none of this name; there are {known}")
    if not np.isfinite(amount) or amount < 0:
        raise SecateurError(f"sparsity {amount:g}: must be a number of 0 or more")
    fixed = parse_n_of_m(name)
    if fixed:
        share = 1 - fixed[0] / fixed[1]
        if amount not in (0.0, share):
            raise SecateurError(f"sparsity {amount:g}: pattern {name} has {share:g} of zeros; leave --sparsity out")
        return True
    if name not in PATTERNS:
        known = ", ".join([*sorted(PATTERNS), "2:4", "4:8"])
        raise SecateurError(f"sparsity pattern {name!r}: there is none of this name; there are {known}")
    if name in _RATIOS and amount >= 1:
        raise SecateurError(f"sparsity {amount:g}: pattern {name} takes a share of the weights below 1, such as 0.5")
    return amount > 0


def score_weights(criterion: str, evidence: WeightEvidence) -> dict[str, NDArray[np.float64]]:
    """Score every weight that may be pruned by the named criterion; see `check_pattern` for errors."""
    return WEIGHT_CRITERIA[criterion](evidence)


def sparsify(weights: Weights, scores: Scores, name: str, amount: float) -> dict[str, Array]:
    """Return the weights with zeros where the pattern wants them.

    Args:
        weights: name → (out, in, kernel…).
        scores: name → importance of each element.
        name: a registered pattern or ``N:M``.
        amount: as for `check_pattern`.
    """
    fixed = parse_n_of_m(name)
    if fixed:
        return {key: masked(weight, scores[key], *fixed) for key, weight in weights.items()}
    return PATTERNS[name](weights, scores, amount)


def zero_share(weights: Weights) -> float:
    """Return the share of zeros among all elements."""
    total = sum(weight.size for weight in weights.values())
    return sum(int((weight == 0).sum()) for weight in weights.values()) / max(total, 1)
