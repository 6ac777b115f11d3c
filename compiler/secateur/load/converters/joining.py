"""Operators that join tensors, repeat axes, or pick elements of an axis."""

from __future__ import annotations

import numpy as np

from secateur.load.builder import Constant, Converting
from secateur.load.converters.registry import converter
from secateur.load.views import Arranged


@converter("Concat")
def _concat(node: Converting) -> None:
    """Zeros before or behind all computed tensors become padding; other constants are repeated for each sample."""
    values = [node.constant(index) for index in range(len(node.given))]
    computed = [index for index, value in enumerate(values) if value is None]
    like = node.arranged(computed[0])
    place = node.attrs["axis"] % len(like.axes)
    axis = like.axes[place]
    if axis is None:
        raise node.fail("tensors can be joined along any axis but the batch")
    if any(node.arranged(index).order != like.order for index in computed):
        raise node.fail("the batch lies on different axes of its inputs")
    outside = [value for value in (*values[: computed[0]], *values[computed[-1] + 1 :]) if value is not None]
    pads = bool(outside) and not any(value.any() for value in outside)
    inside = range(computed[0], computed[-1] + 1) if pads else range(len(values))
    for index in inside:
        _check_constant(node, values[index], like)
    if len(values) == 1:
        node.put_view(node.view())
        return
    tensor = like.tensor
    if len(inside) > 1:
        pieces = [node.tensor(index, like) for index in inside]
        tensor = node.emit("Concat", pieces, node.output + ":joined" if pads else node.fresh(like), axis=axis)
    if pads:
        begins, ends = [0] * len(like.shape), [0] * len(like.shape)
        begins[axis] = sum(value.shape[place] for value in values[: computed[0]] if value is not None)
        ends[axis] = sum(value.shape[place] for value in values[computed[-1] + 1 :] if value is not None)
        tensor = node.emit("Pad", [tensor], node.fresh(like), begins=tuple(begins), ends=tuple(ends))
    node.put_back(like, tensor)


def _check_constant(node: Converting, value: Constant | None, like: Arranged) -> None:
    if value is not None and (not like.is_plain or (value != value[:1]).any()):
        raise node.fail("a constant that differs between samples is not supported")


@converter("Expand")
def _expand(node: Converting) -> None:
    """Axes of size 1 are repeated."""
    target, shape = node.constant(1), node.shape()
    if target is None:
        raise node.fail("its target shape must be constant")
    try:
        full = np.broadcast_shapes(shape, tuple(int(size) for size in target))
    except ValueError:
        raise node.fail(f"{shape[1:]} cannot be expanded to {[int(size) for size in target]}") from None
    if len(full) != len(shape):
        raise node.fail("new axes in front of the batch are not supported")
    if full == shape:
        node.put_view(node.view())
        return
    x = node.arranged()
    repeats = [1] * len(x.shape)
    for axis, (size, wide) in enumerate(zip(shape, full)):
        place = x.axes[axis]
        if size != wide and place is None:
            raise node.fail("the batch cannot be repeated")
        if place is not None and size != wide:
            repeats[place] = wide
    node.emit_like("Expand", x, shape=tuple(repeats))
