"""Quantized values."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class QuantizedWeight:
    """``values`` int8 (out, in, kernel…) and ``scale`` float64 (out,): the weight is about ``values · scale``."""

    values: NDArray[np.int8]
    scale: NDArray[np.float64]


@dataclass(frozen=True)
class ActivationParameters:
    """``value = scale · (q − zero_point)`` with int8 q."""

    scale: float
    zero_point: int
