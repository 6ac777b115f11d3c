"""Operators that move elements: what reshapes and transposes is noted as a view; pad, slice."""

from __future__ import annotations

from math import prod

import numpy as np

from secateur.load.builder import BATCH, Converting
from secateur.load.converters.registry import converter
from secateur.load.views import MixedAxesError


@converter("Flatten", "Reshape", "Squeeze", "Unsqueeze")
def _reshape(node: Converting) -> None:
    target = {"Flatten": _flattened, "Reshape": _reshaped, "Squeeze": _squeezed, "Unsqueeze": _unsqueezed}[node.op](node)
    shape = node.shape()
    try:
        node.put_view(node.view().reshaped(target, node.origin))
    except MixedAxesError:
        if target[:1] != [BATCH] or prod(target) != prod(shape):
            raise node.fail(
                f"a reshape of {_readable(shape)} to {_readable(target)} mixes the batch with other axes"
            ) from None
        node.emit("Reshape", shape=(-1, *target[1:]))


def _readable(shape: tuple[int, ...] | list[int]) -> list[int | str]:
    return [size if size % BATCH else "batch" if size == BATCH else f"batch·{size // BATCH}" for size in shape]


def _flattened(node: Converting) -> list[int]:
    shape, axis = node.shape(), node.attrs.get("axis", 1) % (len(node.shape()) + 1)
    return [prod(shape[:axis]), prod(shape[axis:])]


def _axes(node: Converting) -> list[int] | None:
    axes = node.constant(1) if node.has(1) else node.attrs.get("axes")
    return None if axes is None else [int(axis) for axis in np.ravel(axes)]


def _squeezed(node: Converting) -> list[int]:
    shape, axes = node.shape(), _axes(node)
    drop = {a % len(shape) for a in axes} if axes is not None else {i for i, s in enumerate(shape) if s == 1}
    if any(shape[axis] not in (1, BATCH) for axis in drop):
        raise node.fail(f"only axes of size 1 can be squeezed, not {sorted(drop)} of {_readable(shape)}")
    return [size for axis, size in enumerate(shape) if axis not in drop or size == BATCH]


def _unsqueezed(node: Converting) -> list[int]:
    shape, axes = list(node.shape()), _axes(node) or []
    for axis in sorted(a % (len(shape) + len(axes)) for a in axes):
        shape.insert(axis, 1)
    return shape


def _reshaped(node: Converting) -> list[int]:
    wanted, shape = node.constant(1), node.shape()
    if wanted is None:
        raise node.fail("its target shape must be constant")
    keep_zero = bool(node.attrs.get("allowzero", 0))
    if not keep_zero and any(int(s) == 0 and i >= len(shape) for i, s in enumerate(wanted)):
        raise node.fail("a 0 in its target shape stands for an axis that the input lacks")
    target = [shape[i] if int(s) == 0 and not keep_zero else int(s) for i, s in enumerate(wanted)]
    total = prod(shape)
    if target.count(-1) == 1:
        known = prod(size for size in target if size != -1)
        # A file exported for one sample has a literal 1 where the batch is.
        if known % BATCH and target[0] == 1 and known and total % (known * BATCH) == 0:
            target[0], known = BATCH, known * BATCH
        target[target.index(-1)] = total // known if known and total % known == 0 else 0
    elif prod(target) * BATCH == total and 1 in target:
        target[target.index(1)] = BATCH
    if prod(target) != total:
        raise node.fail(f"{_readable(shape)} cannot be reshaped to {[int(size) for size in wanted]}")
    return target


@converter("Transpose")
def _transpose(node: Converting) -> None:
    perm = tuple(node.attrs.get("perm", range(len(node.shape()))[::-1]))
    node.put_view(node.view().transposed(perm, node.origin))


@converter("Pad")
def _pad(node: Converting) -> None:
    pads, value = node.constant(1), node.constant(2)
    rank = len(node.shape())
    axes = node.constant(3)
    mode = node.attrs.get("mode", b"constant")
    if pads is None or mode not in (b"constant", b"reflect") or (value is not None and value.size and value.item() != 0):
        raise node.fail("only padding by constant zeros or by reflection is supported")
    chosen = [int(a) % rank for a in axes] if axes is not None else list(range(rank))
    begins, ends = [0] * rank, [0] * rank
    for index, axis in enumerate(chosen):
        begins[axis], ends[axis] = int(pads[index]), int(pads[index + len(chosen)])
    if min(begins + ends) < 0 or begins[0] or ends[0]:
        raise node.fail("negative padding, or of the batch, is not supported")
    if mode == b"reflect":
        wide = [axis for axis in range(rank) if begins[axis] or ends[axis]]
        if len(wide) != 1 or wide[0] != rank - 1:
            raise node.fail("padding by reflection is supported on the last axis only")
        node.emit("ReflectPad", begin=begins[-1], end=ends[-1])
    else:
        node.emit("Pad", begins=tuple(begins), ends=tuple(ends))


@converter("Slice")
def _slice(node: Converting) -> None:
    shape = node.shape()
    values = [node.constant(index) for index in (1, 2, 3, 4)]
    if node.opset < 10:
        raise node.fail("slices of opset 9 or earlier are not supported")
    if values[0] is None or values[1] is None:
        raise node.fail("its bounds must be constant")
    starts, stops = [int(v) for v in values[0]], [int(v) for v in values[1]]
    axes = [int(a) % len(shape) for a in values[2]] if values[2] is not None else list(range(len(starts)))
    steps = [int(s) for s in values[3]] if values[3] is not None else [1] * len(starts)
    if min(steps) < 1:
        raise node.fail("negative steps are not supported")
    exact = [slice(a, b, s).indices(shape[axis]) for a, b, s, axis in zip(starts, stops, steps, axes)]
    slice_axes(node, [(axis, a, b, s) for axis, (a, b, s) in zip(axes, exact) if (a, b, s) != (0, shape[axis], 1)])


def slice_axes(node: Converting, chosen: list[tuple[int, int, int, int]], output: str = "") -> None:
    """Make the output the chosen part of the input: axis, start, stop and step of each axis that is sliced."""
    if not chosen:
        node.put_view(node.view(), output)
        return
    x = node.arranged()
    axes = [x.axes[axis] for axis, *_ in chosen]
    if None in axes:
        raise node.fail("a slice of the batch is not supported")
    starts, stops, steps = (tuple(row[i] for row in chosen) for i in (1, 2, 3))
    tensor = node.emit("Slice", [x.tensor], node.fresh(x, output), axes=tuple(axes), starts=starts, stops=stops, steps=steps)
    node.put_back(x, tensor, output)
