"""The registry of calibrators."""

from __future__ import annotations

from collections.abc import Callable

from secateur.ir.registration import Registry
from secateur.quantization.histogram import Histogram

Calibrator = Callable[[Histogram], tuple[float, float]]
"""From what was seen of a tensor to the range that eight bits shall cover; values beyond it are clipped."""
CALIBRATORS: Registry[Calibrator] = Registry("calibrator")


def calibrator(name: str) -> Callable[[Calibrator], Calibrator]:
    """Register a function as a calibrator."""

    def register(function: Calibrator) -> Calibrator:
        CALIBRATORS.register([name], function)
        return function

    return register
