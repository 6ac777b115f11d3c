"""Operators that put tensors together and take them apart."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from secateur.load.builder import Constant, Converting
from secateur.load.converters.registry import converter


@converter("Concat")
def _concat(node: Converting) -> None:
    """Zeros before or behind all computed tensors become padding; other constants are not supported."""
    count = len(node.inputs)
    computed = [index for index in range(count) if node.constant(index) is None]
    rank = len(node.shape(computed[0]))
    axis = node.attrs["axis"] % rank
    if axis == 0:
        raise node.fail("tensors can be joined along any axis but the batch")
    begin = end = 0
    for index in range(count):
        value = node.constant(index)
        if value is None:
            continue
        if value.any() or computed[0] < index < computed[-1]:
            raise node.fail("constants among the operands are not supported, but for zeros before or behind all others")
        begin, end = (begin + value.shape[axis], end) if index < computed[0] else (begin, end + value.shape[axis])
    pads = begin or end
    joined = node.inputs[computed[0]]
    if len(computed) > 1:
        joined = node.emit("Concat", [node.inputs[i] for i in computed], node.output + ":joined" if pads else "", axis=axis)
    if pads:
        begins, ends = [0] * rank, [0] * rank
        begins[axis], ends[axis] = begin, end
        node.emit("Pad", [joined], begins=tuple(begins), ends=tuple(ends))
    elif len(computed) == 1:
        node.alias(joined)


@converter("Split")
def _split(node: Converting) -> None:
    """One slice for each output."""
    shape = node.shape()
    axis = node.attrs.get("axis", 0) % len(shape)
    if axis == 0:
        raise node.fail("the batch cannot be split")
    sizes = node.constant(1) if node.has(1) else node.attrs.get("split")
    if node.has(1) and sizes is None:
        raise node.fail("the sizes of its parts must be constant")
    if sizes is None:
        whole = -(-shape[axis] // len(node.outputs))
        sizes = [min(whole, shape[axis] - index * whole) for index in range(len(node.outputs))]
    _slices(node, axis, sizes, node.outputs)


@converter("SplitToSequence")
def _split_to_sequence(node: Converting) -> None:
    """What torch makes of ``chunk`` and ``split``: the parts are taken out one by one."""
    shape = node.shape()
    axis = node.attrs.get("axis", 0) % len(shape)
    sizes = node.constant(1)
    if axis == 0 or sizes is None or not node.attrs.get("keepdims", 1):
        raise node.fail("only parts of constant sizes, and not of the batch, are supported")
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
    node.alias(node.member(int(index)))


def _slices(node: Converting, axis: int, sizes: Sequence[int] | Constant, outputs: list[str]) -> None:
    size = node.shape()[axis]
    stops = [int(stop) for stop in np.cumsum(sizes)]
    if len(stops) != len(outputs) or stops[-1] != size or min(sizes) < 1:
        raise node.fail(f"parts of sizes {[int(part) for part in sizes]} are not an axis of {size}")
    for output, start, stop in zip(outputs, [0, *stops], stops):
        if (start, stop) == (0, size):
            node.alias(node.inputs[0], output)
        elif output:
            node.emit("Slice", None, output, axes=(axis,), starts=(start,), stops=(stop,), steps=(1,))


@converter("Gather")
def _gather(node: Converting) -> None:
    """Constant indices pick elements of an axis."""
    index = node.constant(1)
    if index is None or node.constant(0) is not None:
        raise node.fail("only constant indices into a computed tensor are supported")
    shape = node.shape()
    axis = node.attrs.get("axis", 0) % len(shape)
    if axis == 0 or index.ndim > 1 or not index.size:
        raise node.fail("indices must be a number or a list, and not pick samples of the batch")
    places = tuple(int(i) % shape[axis] for i in index.ravel())
    taken = node.emit("Take", None, node.output if index.ndim else node.output + ":taken", axis=axis, index=places)
    if not index.ndim:
        node.emit("Squeeze", [taken], axes=(axis,))


@converter("Expand")
def _expand(node: Converting) -> None:
    """Axes of size 1 are repeated."""
    wanted, shape = node.constant(1), node.shape()
    if wanted is None or len(wanted) > len(shape):
        raise node.fail("its target shape must be constant, with no new axes")
    target = [1] * (len(shape) - len(wanted)) + [int(size) for size in wanted]
    repeats = tuple(size if present == 1 else 1 for size, present in zip(target, shape))
    if any(repeat > 1 for repeat in repeats):
        node.emit("Expand", shape=repeats)
    else:
        node.alias(node.inputs[0])
