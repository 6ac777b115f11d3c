"""Shared int8 weights: symmetric, per output channel, from the full network; a rung only multiplies the scales."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from secateur.ir import QuantizedWeight

_SMALLEST_SCALE = 2.0**-60
"""Far above denormals, which fast kernels refuse."""


def quantize_weights(weights: Mapping[str, NDArray[np.floating]]) -> dict[str, QuantizedWeight]:
    """Quantize the shared weights of the full network, once for all rungs.

    Args:
        weights: name → (out, in, kernel…). Signs of private scales must be in them already (the normal form's are).

    Returns:
        Name → int8 values in −127 … 127 and the scale ``max |W| / 127`` of each output channel.
    """
    found = {}
    for name, weight in weights.items():
        flat = np.asarray(weight, np.float64).reshape(len(weight), -1)
        scale = np.maximum(np.abs(flat).max(1), 127 * _SMALLEST_SCALE) / 127
        values = np.clip(np.rint(flat / scale[:, None]), -127, 127).astype(np.int8).reshape(weight.shape)
        found[name] = QuantizedWeight(values, scale)
    return found


def rung_weight_scale(
    base_scale: NDArray[np.float64], scale: NDArray[np.floating], shift: NDArray[np.floating], input_scale: float | None
) -> NDArray[np.float32]:
    """Return a rung's quantization scale of a weight, rounded to the 8 significant bits of a bfloat16.

    Rounding costs at most 0.2% of a weight, less than the int8 grid itself, and halves what a recipe carries. The scale
    is never so small that an int32 bias would not fit.

    Args:
        base_scale: of the shared weight's kept output channels, (out,).
        scale: private scale, non-negative, (out,).
        shift: private shift, (out,).
        input_scale: quantization scale of the layer's input; None if the bias stays float.
    """
    exact = base_scale * scale
    if input_scale is not None:
        exact = np.maximum(exact, np.abs(np.asarray(shift, np.float64)) / (input_scale * 2.0**30))
    bits = np.maximum(exact, _SMALLEST_SCALE).astype("<f4").view("<u4").astype(np.uint64)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) & 0xFFFF0000).astype("<u4").view("<f4")
