"""All but the rarest values (Wu et al.: Integer Quantization for Deep Learning Inference, 2020, section 5)."""

from __future__ import annotations

import numpy as np

from secateur.quantization.calibrators.registry import calibrator
from secateur.quantization.histogram import Histogram

BEYOND = 1e-4
"""Share of values that are clipped, of both ends together."""


@calibrator("percentile")
def percentile(found: Histogram) -> tuple[float, float]:
    """Return the range without the outermost values: 99.99 % are left."""
    share = np.concatenate([[0.0], np.cumsum(found.counts)]) / found.counts.sum()
    edges = np.linspace(found.low, found.high, len(share))
    low, high = (float(np.interp(q, share, edges)) for q in (BEYOND / 2, 1 - BEYOND / 2))
    # An end that many values share, such as 0 behind a Relu, is no rarity.
    return min(low, 0.0) if found.low <= 0 else found.low, max(high, 0.0) if found.high >= 0 else found.high
