"""The range that keeps most of the information: least Kullback-Leibler divergence of the quantized distribution.

Migacz: 8-bit Inference with TensorRT, GTC 2017. There of absolute values; here of a tensor that has both signs, too.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from secateur.quantization.calibrators.registry import calibrator
from secateur.quantization.histogram import Histogram

CANDIDATES, LEAST, LEVELS = 64, 0.125, 255


@calibrator("entropy")
def entropy(found: Histogram) -> tuple[float, float]:
    """Return the range whose distribution in 255 levels diverges least from the clipped true one."""
    found = _without_zeros(found)
    best, least = (found.low, found.high), np.inf
    for limit in found.limits(CANDIDATES, LEAST)[::-1]:
        low, high = found.clipped(float(limit))
        divergence = _divergence(found, low, high)
        if divergence < least:
            best, least = (low, high), divergence
    return best


def _without_zeros(found: Histogram) -> Histogram:
    """Behind a Relu most values are 0, which every range has exactly: they say nothing about where to clip."""
    counts = found.counts.copy()
    zero = int(np.clip((0 - found.low) / found.width, 0, len(counts) - 1))
    counts[zero] = counts[max(0, zero - 2) : zero + 3].min()
    return Histogram(found.low, found.high, counts)


def _divergence(found: Histogram, low: float, high: float) -> float:
    if low >= found.high or high <= found.low:  # all values are on one side of 0, and beyond the limit
        return np.inf
    first = int(np.floor((low - found.low) / found.width + 1e-9))
    last = max(first + 1, int(np.ceil((high - found.low) / found.width - 1e-9)))
    inside = found.counts[first:last]
    true = inside.copy()
    true[0] += found.counts[:first].sum()
    true[-1] += found.counts[last:].sum()
    return _kullback_leibler(true, _in_levels(inside, LEVELS))


def _in_levels(counts: NDArray[np.float64], levels: int) -> NDArray[np.float64]:
    """Spread what falls into each level evenly over those of its bins that are not empty."""
    level = np.minimum(np.arange(len(counts)) * levels // len(counts), levels - 1)
    filled = counts > 0
    total = np.bincount(level, counts, levels)
    bins = np.bincount(level, filled, levels)
    return np.where(filled, (total / np.maximum(bins, 1))[level], 0.0)


def _kullback_leibler(true: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    p, q = true / max(true.sum(), 1e-300), other / max(other.sum(), 1e-300)
    there = p > 0
    # Clipped values may fill a bin that was empty: a sliver keeps the logarithm finite, and that range unattractive.
    return float((p[there] * np.log(p[there] / np.maximum(q[there], 1e-10))).sum())
