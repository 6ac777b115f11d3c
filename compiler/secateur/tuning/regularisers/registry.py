"""The registry of regularisers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from secateur.ir import Groups, SecateurError


@dataclass(frozen=True)
class Parameters:
    """What a penalty is taken of: weight → (out, in, kernel…), and table → scale of normalised channels, (channels,)."""

    weights: Mapping[str, Tensor]
    scales: Mapping[str, Tensor]


@dataclass(frozen=True)
class Regulariser:
    """A penalty.

    Attributes:
        make: from channel groups, scores before the phase, steps of the phase and strength to a function of the step and
            the parameters that gives the penalty.
        strength: if none is given.
    """

    make: Callable[[Groups, Mapping[str, NDArray[np.float64]], int, float], Callable[[int, Parameters], Tensor]]
    strength: float


REGULARISERS: dict[str, Regulariser] = {}


def regulariser(name: str, strength: float) -> Callable[[Callable[..., Callable[[int, Parameters], Tensor]]], object]:
    """Register a maker of penalties under the name that ``--regulariser`` takes."""

    def register(make: Callable[..., Callable[[int, Parameters], Tensor]]) -> object:
        REGULARISERS[name] = Regulariser(make, strength)
        return make

    return register


def check_regulariser(name: str, strength: float | None) -> bool:
    """Return whether there is anything to do.

    Raises:
        SecateurError: if there is no such regulariser, or the strength is no number above 0.
    """
    if strength is not None and not (np.isfinite(strength) and strength > 0):
        raise SecateurError(f"regulariser strength {strength:g}: must be a number above 0")
    if name != "none" and name not in REGULARISERS:
        known = ", ".join(["none", *sorted(REGULARISERS)])
        raise SecateurError(f"regulariser {name!r}: there is none of this name; there are {known}")
    return name != "none"
