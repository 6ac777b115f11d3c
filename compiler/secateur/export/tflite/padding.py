"""Padding of convolutions and pools: TFLite has two kinds of its own, anything else is an operator before."""

from __future__ import annotations

from collections.abc import Sequence

from secateur.export.tflite import schema


def implied(
    pads: Sequence[int], sizes: Sequence[int], kernel: Sequence[int], strides: Sequence[int], dilations: Sequence[int]
) -> int | None:
    """Return the kind of padding that equals explicit pads; None if neither does.

    Args:
        pads: all begins, then all ends.
        sizes: of the spatial axes before padding.
        kernel: spatial sizes; ``strides`` and ``dilations`` likewise.
    """
    if not any(pads):
        return schema.VALID
    spatial = len(kernel)
    for axis in range(spatial):
        reach = (kernel[axis] - 1) * dilations[axis] + 1
        count = -(-sizes[axis] // strides[axis])
        total = max((count - 1) * strides[axis] + reach - sizes[axis], 0)
        if (pads[axis], pads[spatial + axis]) != (total // 2, total - total // 2):
            return None
    return schema.SAME


def as_image(values: Sequence[int], filler: int) -> tuple[int, ...]:
    """Return attributes of one spatial axis as those of an image of height 1; of two as they are."""
    return (filler, *values) if len(values) == 1 else tuple(values)


def pads_of_image(pads: Sequence[int]) -> tuple[int, ...]:
    """Return pads (begins, then ends) of a signal as those of an image of height 1; of an image as they are."""
    return (0, pads[0], 0, pads[1]) if len(pads) == 2 else tuple(pads)
