"""Integers as inputs: rows of a constant table (embeddings), one-hot vectors; and parts of a tensor by constant indices."""

from __future__ import annotations

import numpy as np

from secateur.load.builder import Constant, Converting
from secateur.load.converters.layout import slice_axes
from secateur.load.converters.registry import converter


@converter("Gather")
def _gather(node: Converting) -> None:
    table, indices = node.constant(0), node.constant(1)
    if table is not None:
        _embedding(node, table)
    elif indices is None:
        raise node.fail("computed indices into a computed tensor are not supported")
    elif indices.ndim == 0:
        _select(node, int(indices))
    else:
        _part(node, indices)


def _embedding(node: Converting, table: Constant) -> None:
    if node.attrs.get("axis", 0) != 0 or table.ndim != 2:
        raise node.fail("only rows of a table are supported")
    ids = node.inputs[1]
    if node.dtype(1).is_floating_point:
        raise node.fail("its indices must be integers")
    node.emit("Embedding", [ids], constants=(node.weight(table),))


def _select(node: Converting, index: int) -> None:
    """One element of an axis, which disappears. Of an axis that a reshape split off, the part of the unsplit axis."""
    view = node.view()
    axis = node.attrs.get("axis", 0) % len(view.groups)
    group, size = view.groups[axis], view.shape[axis]
    index %= size
    if view.batch in group:
        raise node.fail("one sample of the batch cannot be selected")
    rest = [other for number, other in enumerate(view.groups) if number != axis]
    whole = next((number for number, atoms in enumerate(view.axes) if atoms[: len(group)] == group), None) if group else None
    if not group:
        node.put_view(view.regrouped(rest, node.origin))
        return
    if whole is None or len(view.axes[whole]) == len(group):
        # The view's own axis: slice it, then leave it out.
        output = node.output + ":selected"
        slice_axes(node, [(axis, index, index + 1, 1)], output)
        chosen = node.view_of(output)
        node.put_view(chosen.regrouped([g for number, g in enumerate(chosen.groups) if number != axis], node.origin))
        return
    inner = node.tensor_shape(view.source)[whole] // size
    bounds = {"axes": (whole,), "starts": (index * inner,), "stops": ((index + 1) * inner,), "steps": (1,)}
    tensor = node.emit("Slice", [view.source], f"{view.source}:{node.output}", **bounds)
    axes = [atoms[len(group) :] if number == whole else atoms for number, atoms in enumerate(view.axes)]
    node.put_view(type(view)(tensor, axes, rest, node.origin))


def _part(node: Converting, indices: Constant) -> None:
    """Several elements of an axis: a slice if they follow each other, else a ``Take``."""
    shape = node.shape()
    axis = node.attrs.get("axis", 0) % len(shape)
    x = node.arranged()
    along = x.axes[axis]
    if indices.ndim != 1 or not indices.size or along is None:
        raise node.fail("indices must be a number or a list, and not pick samples of the batch")
    places = [int(index) % shape[axis] for index in indices]
    if places == list(range(places[0], places[-1] + 1)):
        slice_axes(node, [(axis, places[0], places[-1] + 1, 1)] if len(places) != shape[axis] else [])
    else:
        node.emit_like("Take", x, axis=along, index=tuple(places))


@converter("OneHot")
def _one_hot(node: Converting) -> None:
    depth, values = node.constant(1), node.constant(2)
    if depth is None or values is None or node.attrs.get("axis", -1) not in (-1, len(node.shape())):
        raise node.fail("only a constant depth, on a new last axis, is supported")
    size = int(depth.item())
    table = np.full((size, size), values[0], np.float32)
    np.fill_diagonal(table, values[1])
    node.emit("Embedding", [node.inputs[0]], constants=(node.weight(table),))
