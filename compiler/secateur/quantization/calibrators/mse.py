"""The range whose quantized values are nearest to the true ones, squared (Nagel et al.: A White Paper on Neural Network
Quantization, 2021, section 3.1)."""

from __future__ import annotations

import numpy as np

from secateur.quantization.calibrators.registry import calibrator
from secateur.quantization.histogram import Histogram

CANDIDATES, LEAST = 100, 0.05


@calibrator("mse")
def mse(found: Histogram) -> tuple[float, float]:
    """Return the range with the least sum of squared errors of rounding and clipping."""
    centres, counts = found.centres, found.counts
    best, least = (found.low, found.high), np.inf
    for limit in found.limits(CANDIDATES, LEAST)[::-1]:
        low, high = found.clipped(float(limit))
        low, high = min(low, 0.0), max(high, 0.0)
        step = max(high - low, 1e-12) / 255
        quantized = low + step * np.clip(np.rint((centres - low) / step), 0, 255)
        error = float((counts * (quantized - centres) ** 2).sum())
        if error < least:
            best, least = (low, high), error
    return best
