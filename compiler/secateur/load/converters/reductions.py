"""Means, sums and maxima along axes."""

from __future__ import annotations

import numpy as np

from secateur.load.builder import BATCH, Converting
from secateur.load.converters.registry import converter


@converter("ReduceMean", "ReduceSum", "ReduceMax")
def _reduce(node: Converting) -> None:
    given = node.constant(1) if node.has(1) else node.attrs.get("axes")
    x, rank = node.arranged(), len(node.shape())
    if given is None:
        raise node.fail("the axes to reduce must be constant")
    chosen = sorted(int(axis) % rank for axis in np.ravel(given))
    axes = [x.axes[axis] for axis in chosen]
    if None in axes:
        raise node.fail("a reduction over the batch is not supported")
    over_positions = node.op == "ReduceMean" and x.is_plain and chosen == list(range(2, rank))
    if node.attrs.get("keepdims", 1):
        output = node.fresh(x)
    else:
        output = node.output + ":kept"
    if over_positions:
        tensor = node.emit("GlobalAveragePool", [x.tensor], output)
    else:
        tensor = node.emit(node.op, [x.tensor], output, axes=tuple(axes))
    node.put_back(x, tensor)
    if not node.attrs.get("keepdims", 1):
        view = x.view_of(tensor, [BATCH, *node.tensor_shape(tensor)[1:]], node.origin)
        node.put_view(view.regrouped([group for axis, group in enumerate(view.groups) if axis not in chosen]))


@converter("GlobalMaxPool")
def _global_max_pool(node: Converting) -> None:
    x = node.inputs[0]
    node.emit("ReduceMax", [x], axes=tuple(range(2, len(node.shape()))))
