"""Operators that move elements: flatten, transpose, pad, slice."""

from __future__ import annotations

import numpy as np

from secateur.load.builder import BATCH, Converting
from secateur.load.converters.registry import converter


@converter("Flatten", "Reshape", "Squeeze")
def _reshape(node: Converting) -> None:
    shape = node.shape()
    flat = int(np.prod(shape[1:]))
    if node.op == "Flatten":
        target = [BATCH, flat] if node.attrs.get("axis", 1) == 1 else []
    elif node.op == "Squeeze":
        axes = node.constant(1) if node.has(1) else node.attrs.get("axes")
        drop = {int(a) % len(shape) for a in axes} if axes is not None else {i for i, s in enumerate(shape) if s == 1}
        target = [size for axis, size in enumerate(shape) if axis not in drop]
    else:
        wanted = node.constant(1)
        if wanted is None:
            raise node.fail("its target shape must be constant")
        target = [shape[i] if int(s) == 0 else int(s) for i, s in enumerate(wanted)]
        if len(target) > 1 and target[0] in (-1, 1) and -1 not in target[1:]:
            target[0] = BATCH
        target = [flat if s == -1 and len(target) == 2 and i == 1 else s for i, s in enumerate(target)]
        target[0] = BATCH if target[0] == 1 else target[0]
    if tuple(target) == shape:
        node.alias(node.inputs[0])
    elif target == [BATCH, flat]:
        node.emit("Flatten")
    else:
        raise node.fail(f"only flattening to (batch, features) is supported, not {shape[1:]} to {target[1:]}")


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
