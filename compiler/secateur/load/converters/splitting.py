"""Operators that take tensors apart: one slice for each part."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from secateur.load.builder import Constant, Converting
from secateur.load.converters.layout import slice_axes
from secateur.load.converters.registry import converter


@converter("Split")
def _split(node: Converting) -> None:
    axis = node.attrs.get("axis", 0) % len(node.shape())
    size = node.shape()[axis]
    sizes = node.constant(1) if node.has(1) else node.attrs.get("split")
    if node.has(1) and sizes is None:
        raise node.fail("the sizes of its parts must be constant")
    if sizes is None:
        whole = -(-size // len(node.outputs))
        sizes = [min(whole, size - index * whole) for index in range(len(node.outputs))]
    _slices(node, axis, sizes, [name if node.used(index) else "" for index, name in enumerate(node.outputs)])


@converter("SplitToSequence")
def _split_to_sequence(node: Converting) -> None:
    """What torch makes of ``chunk`` and ``split``: the parts are taken out one by one."""
    shape = node.shape()
    axis = node.attrs.get("axis", 0) % len(shape)
    sizes = node.constant(1)
    if sizes is None or not node.attrs.get("keepdims", 1):
        raise node.fail("only parts of constant sizes are supported")
    if sizes.ndim == 0:
        step = int(sizes)
        sizes = np.asarray([min(step, shape[axis] - begin) for begin in range(0, shape[axis], step)])
    names = [f"{node.output}:{index}" for index in range(len(sizes))]
    _slices(node, axis, sizes, names)
    node.sequence(names)


@converter("SequenceAt")
def _sequence_at(node: Converting) -> None:
    index = node.constant(1)
    if index is None:
        raise node.fail("its index must be constant")
    node.put_view(node.member(int(index)))


def _slices(node: Converting, axis: int, sizes: Sequence[int] | Constant, outputs: list[str]) -> None:
    view = node.view()
    size = view.shape[axis]
    if view.batch in view.groups[axis]:
        raise node.fail("the batch cannot be split")
    stops = [int(stop) for stop in np.cumsum(sizes)]
    if len(stops) != len(outputs) or stops[-1] != size or min(sizes) < 1:
        raise node.fail(f"parts of sizes {[int(part) for part in sizes]} are not an axis of {size}")
    for output, start, stop in zip(outputs, [0, *stops], stops):
        if output:
            slice_axes(node, [(axis, start, stop, 1)] if (start, stop) != (0, size) else [], output)
