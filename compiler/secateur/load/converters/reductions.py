"""Reductions along axes."""

from __future__ import annotations

import numpy as np

from secateur.load.builder import BATCH, Converting
from secateur.load.converters.registry import converter


@converter("ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceL2")
def _reduce(node: Converting) -> None:
    """The normal form keeps reduced axes, of size 1; a view drops them. A mean or maximum over all positions is a pool."""
    given = node.constant(1) if node.has(1) else node.attrs.get("axes")
    x, rank = node.arranged(), len(node.shape())
    if given is None or not np.size(given):
        raise node.fail("its axes must be given and constant")
    chosen = sorted(int(axis) % rank for axis in np.ravel(given))
    axes = [x.axes[axis] for axis in chosen]
    if None in axes:
        raise node.fail("its axes must not be the batch")
    pool = {"ReduceMean": "GlobalAveragePool", "ReduceMax": "GlobalMaxPool"}.get(node.op)
    if node.attrs.get("keepdims", 1):
        output = node.fresh(x)
    else:
        output = node.output + ":kept"
    if pool is not None and x.is_plain and chosen == list(range(2, rank)):
        tensor = node.emit(pool, [x.tensor], output)
    else:
        tensor = node.emit(node.op, [x.tensor], output, axes=tuple(axes))
    node.put_back(x, tensor)
    if not node.attrs.get("keepdims", 1):
        view = x.view_of(tensor, [BATCH, *node.tensor_shape(tensor)[1:]], node.origin)
        node.put_view(view.regrouped([group for axis, group in enumerate(view.groups) if axis not in chosen]))
