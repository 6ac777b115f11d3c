"""Concatenation of tensors, and constants that are repeated for each sample (class tokens)."""

from __future__ import annotations

from math import prod

import numpy as np

from secateur.load.builder import BATCH, Converting
from secateur.load.converters.registry import converter


@converter("Concat")
def _concat(node: Converting) -> None:
    computed = [index for index in range(len(node.given)) if node.constant(index) is None]
    like = node.arranged(computed[0])
    axis = like.axes[node.attrs["axis"] % len(like.axes)]
    if axis is None:
        raise node.fail("joining along the batch is not supported")
    for index in range(len(node.given)):
        value = node.constant(index)
        if value is None:
            if node.arranged(index).order != like.order:
                raise node.fail("the batch lies on different axes of its inputs")
        elif not like.is_plain or value.shape[0] not in (1, BATCH) or (value != value[:1]).any():
            raise node.fail("a constant that differs between samples is not supported")
    if len(node.given) == 1:
        node.put_view(node.view())
        return
    pieces = [node.tensor(index, like) for index in range(len(node.given))]
    node.put_back(like, node.emit("Concat", pieces, node.fresh(like), axis=axis))


@converter("Expand")
def _expand(node: Converting) -> None:
    target, shape = node.constant(1), node.shape()
    if target is None:
        raise node.fail("its target shape must be constant")
    full = np.broadcast_shapes(shape, tuple(int(size) for size in target))
    if full == shape:
        node.put_view(node.view())
        return
    if len(full) != len(shape):
        raise node.fail("new axes in front of the batch are not supported")
    x = node.arranged()
    sizes = [1] * len(x.shape)
    for axis, (size, wide) in enumerate(zip(shape, full)):
        place = x.axes[axis]
        if size != wide and place is None:
            raise node.fail("the batch cannot be repeated")
        if place is not None and size != wide:
            sizes[place] = wide
    if prod(sizes) > 1 << 24:
        raise node.fail("the repeated tensor is too large")
    node.emit_like("Mul", x, constants=(node.weight(np.ones(sizes, np.float32)),))
