"""Operators that move elements: flatten and reshape, transpose, pad, slice."""

from __future__ import annotations

from math import prod

from secateur.load.builder import BATCH, Converting
from secateur.load.converters.registry import converter


@converter("Flatten", "Reshape", "Squeeze", "Unsqueeze")
def _reshape(node: Converting) -> None:
    """Flattening and axes of size 1; any other ``Reshape`` must turn out to be part of something known."""
    shape = node.shape()
    target = {"Flatten": _flattened, "Reshape": _reshaped, "Squeeze": _squeezed, "Unsqueeze": _unsqueezed}[node.op](node)
    if target[:1] != (BATCH,):
        raise node.fail(f"the batch must remain the first axis, {shape[1:]} cannot be reshaped to {target}")
    squeezed, unsqueezed = _moved_ones(shape, target)
    if target == shape:
        node.alias(node.inputs[0])
    elif target == (BATCH, prod(shape[1:])) and shape[1] != 1:
        node.emit("Flatten")
    elif squeezed is None:
        node.emit("Reshape", shape=target[1:])
    else:
        between = node.output + ":squeezed" if unsqueezed else ""
        x = node.emit("Squeeze", None, between, axes=squeezed) if squeezed else node.inputs[0]
        if unsqueezed:
            node.emit("Unsqueeze", [x], axes=unsqueezed)


def _flattened(node: Converting) -> tuple[int, ...]:
    shape = node.shape()
    axis = node.attrs.get("axis", 1)
    axis += len(shape) if axis < 0 else 0
    return prod(shape[:axis]), prod(shape[axis:])


def _reshaped(node: Converting) -> tuple[int, ...]:
    shape, wanted = node.shape(), node.constant(1)
    if wanted is None:
        raise node.fail("its target shape must be constant")
    target = [shape[i] if int(s) == 0 and i < len(shape) else int(s) for i, s in enumerate(wanted)]
    if target[:1] == [1] or (target[:1] == [-1] and prod(target[1:]) == prod(shape[1:])):
        target[0] = BATCH
    known = prod(size for size in target if size != -1)
    return tuple(prod(shape) // max(known, 1) if size == -1 else size for size in target)


def _squeezed(node: Converting) -> tuple[int, ...]:
    shape = node.shape()
    axes = node.constant(1) if node.has(1) else node.attrs.get("axes")
    drop = {int(a) % len(shape) for a in axes} if axes is not None else {i for i, s in enumerate(shape) if s == 1}
    return tuple(size for axis, size in enumerate(shape) if axis not in drop)


def _unsqueezed(node: Converting) -> tuple[int, ...]:
    axes = node.constant(1) if node.has(1) else node.attrs.get("axes")
    if axes is None:
        raise node.fail("its axes must be constant")
    sizes = list(node.shape())
    for axis in sorted(int(a) % (len(sizes) + len(axes)) for a in axes):
        sizes.insert(axis, 1)
    return tuple(sizes)


def _moved_ones(shape: tuple[int, ...], target: tuple[int, ...]) -> tuple[tuple[int, ...] | None, tuple[int, ...]]:
    """Return which axes of size 1 to drop from ``shape``, and which of the result to insert; None if that is not all."""
    dropped, inserted, i, j = [], [], 0, 0
    while i < len(shape) or j < len(target):
        if i < len(shape) and j < len(target) and shape[i] == target[j]:
            i, j = i + 1, j + 1
        elif i < len(shape) and shape[i] == 1:
            dropped.append(i)
            i += 1
        elif j < len(target) and target[j] == 1:
            inserted.append(j)
            j += 1
        else:
            return None, ()
    return tuple(dropped), tuple(inserted)


@converter("Transpose")
def _transpose(node: Converting) -> None:
    rank = len(node.shape())
    perm = tuple(node.attrs.get("perm", range(rank)[::-1]))
    if perm[0] != 0:
        raise node.fail("the batch must remain the first axis")
    node.emit("Transpose", perm=perm)


@converter("Pad")
def _pad(node: Converting) -> None:
    pads, value = node.constant(1), node.constant(2)
    rank = len(node.shape())
    axes = node.constant(3)
    if pads is None or node.attrs.get("mode", b"constant") != b"constant" or (value is not None and value.item() != 0):
        raise node.fail("only padding by constant zeros is supported")
    chosen = [int(a) % rank for a in axes] if axes is not None else list(range(rank))
    begins, ends = [0] * rank, [0] * rank
    for index, axis in enumerate(chosen):
        begins[axis], ends[axis] = int(pads[index]), int(pads[index + len(chosen)])
    if min(begins + ends) < 0 or begins[0] or ends[0]:
        raise node.fail("negative padding, or of the batch, is not supported")
    node.emit("Pad", begins=tuple(begins), ends=tuple(ends))


@converter("Slice")
def _slice(node: Converting) -> None:
    shape = node.shape()
    values = [node.constant(index) for index in (1, 2, 3, 4)]
    if values[0] is None or values[1] is None:
        raise node.fail("its bounds must be constant")
    starts, stops = [int(v) for v in values[0]], [int(v) for v in values[1]]
    axes = [int(a) % len(shape) for a in values[2]] if values[2] is not None else list(range(len(starts)))
    steps = [int(s) for s in values[3]] if values[3] is not None else [1] * len(starts)
    if min(steps) < 1:
        raise node.fail("negative steps are not supported")
    exact = [slice(a, b, s).indices(shape[axis]) for a, b, s, axis in zip(starts, stops, steps, axes)]
    chosen = [(axis, a, b, s) for axis, (a, b, s) in zip(axes, exact) if (a, b, s) != (0, shape[axis], 1)]
    if not chosen:
        node.alias(node.inputs[0])
        return
    columns = [tuple(column) for column in zip(*chosen)]
    node.emit("Slice", axes=columns[0], starts=columns[1], stops=columns[2], steps=columns[3])
