"""All that was seen: nothing is clipped."""

from __future__ import annotations

from secateur.quantization.calibrators.registry import calibrator
from secateur.quantization.histogram import Histogram


@calibrator("min-max")
def min_max(found: Histogram) -> tuple[float, float]:
    """Return the smallest and the largest value."""
    return found.low, found.high
