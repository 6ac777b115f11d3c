"""Calibrators: which range of a tensor eight bits cover. One file each, which registers itself."""

from collections.abc import Mapping

from secateur.ir.discovery import import_modules
from secateur.quantization.calibrators.registry import CALIBRATORS, calibrator
from secateur.quantization.histogram import Histogram
from secateur.quantization.ranges import Ranges

import_modules(__name__, __path__)

__all__ = ["CALIBRATORS", "calibrate", "calibrator"]


def calibrate(name: str, histograms: Mapping[str, Histogram], ranges: Ranges) -> Ranges:
    """Return the range of every tensor by one calibrator.

    Args:
        name: of the calibrator.
        histograms: from `secateur.quantization.observe`.
        ranges: smallest and largest values, for tensors without a histogram.
    """
    chosen = CALIBRATORS[name]
    return {**ranges, **{tensor: chosen(found) for tensor, found in histograms.items()}}
