"""Where the axes of a network's tensors lie in a TFLite file.

TFLite computes images with channels last, and signals of one dimension as images of height 1. A tensor is therefore *last*,
(N, C, H, W) lies as (N, H, W, C) and (N, C, L) as (N, 1, L, C), or *plain*: as it is. Each operator takes what suits it, so
that axes are moved only where a network itself does, or where it flattens an image.
"""

from __future__ import annotations

from collections.abc import Sequence

SPATIAL = {
    *("Conv", "ConvTranspose", "MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool", "Resize"),
    *("DepthToSpace", "SpaceToDepth", "InstanceNormalization"),
}
"""Operators that take images."""

_TO_LAST = {3: (0, 3, 2), 4: (0, 3, 1, 2)}
"""Rank → axis of a last tensor where each of its axes lies."""
MOVED = {3: (0, 2, 1), 4: (0, 2, 3, 1)}
"""Rank → its axes in the order of a last tensor, without the height of a signal."""


def last_axis(rank: int, axis: int) -> int:
    """Return where an axis lies if the tensor is last."""
    return _TO_LAST[rank][axis % rank]


def last_axes(rank: int) -> tuple[int, ...]:
    """Return where each axis lies if the tensor is last."""
    return _TO_LAST[rank]


def last_shape(shape: Sequence[int]) -> list[int]:
    """Return the shape of a tensor that is last."""
    if len(shape) == 3:
        return [shape[0], 1, shape[2], shape[1]]
    return [shape[0], shape[2], shape[3], shape[1]]


def moved_shape(shape: Sequence[int]) -> list[int]:
    """Return the shape with channels last and the same rank."""
    return [shape[axis] for axis in MOVED[len(shape)]]


def moved_name(name: str, rank: int) -> str:
    """Return the name of an input or output whose axes were moved: its own, a colon, and its axes in the file's order."""
    return f"{name}:{','.join(map(str, MOVED[rank]))}"
