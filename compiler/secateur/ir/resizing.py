"""Where the elements of a resized axis lie, and what they are made of: ONNX's Resize, without a runtime."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Float32 = NDArray[np.float32]


def coordinates(size: int, scale: float, mode: str) -> Float32:
    """Return where each element of the result lies on the axis, in float32 as runtimes compute it.

    Args:
        size: elements on the axis before.
        scale: of the axis.
        mode: ONNX's ``coordinate_transformation_mode``.
    """
    factor = np.float32(scale)
    count = int(np.floor(np.float32(size) * factor))
    x = np.arange(count, dtype=np.float32)
    half = np.float32(0.5)
    if mode == "align_corners":
        return x * np.float32((size - 1) / (count - 1)) if count > 1 else np.zeros(count, np.float32)
    if mode == "asymmetric":
        return x / factor
    if mode == "pytorch_half_pixel" and count <= 1:
        return np.zeros(count, np.float32)
    plain: Float32 = (x + half) / factor - half
    if mode == "half_pixel_symmetric":
        plain += np.float32(size / 2 * (1 - count / (float(factor) * size)))
    return plain


def nearest(places: Float32, size: int, mode: str) -> NDArray[np.int64]:
    """Return the element that each place takes, by ONNX's ``nearest_mode``."""
    half = np.float32(0.5)
    rounding = {
        "round_prefer_floor": np.ceil(places - half),
        "round_prefer_ceil": np.floor(places + half),
        "floor": np.floor(places),
        "ceil": np.ceil(places),
    }
    index: NDArray[np.int64] = np.clip(rounding[mode].astype(np.int64), 0, size - 1)
    return index


def interpolation(places: Float32, size: int, mode: str, a: float) -> NDArray[np.float64]:
    """Return the matrix (after, before) of linear or cubic interpolation along an axis.

    Keys: Cubic Convolution Interpolation for Digital Image Processing, 1981 (``a`` is its coefficient).
    """
    base = np.floor(places).astype(np.int64)
    t = places.astype(np.float64) - base
    if mode == "linear":
        taps = {0: 1 - t, 1: t}
    else:
        taps = {}
        for tap in (-1, 0, 1, 2):
            d = np.abs(t - tap)
            near = (a + 2) * d**3 - (a + 3) * d**2 + 1
            far = a * d**3 - 5 * a * d**2 + 8 * a * d - 4 * a
            taps[tap] = np.where(d <= 1, near, far)
    matrix = np.zeros((len(places), size))
    for tap, weight in taps.items():
        np.add.at(matrix, (np.arange(len(places)), np.clip(base + tap, 0, size - 1)), weight)
    return matrix
