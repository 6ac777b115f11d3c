"""Comparisons, and choices by a condition: masks."""

from __future__ import annotations

import numpy as np

from secateur.load.builder import Converting
from secateur.load.converters.arithmetic import constant_like
from secateur.load.converters.registry import converter
from secateur.load.views import Arranged


@converter("Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual")
def _compare(node: Converting) -> None:
    if node.constant(0) is not None:
        raise node.fail("a constant on the left is not supported")
    value = node.constant(1)
    x = node.arranged(0)
    if value is None:
        y = node.arranged(1)
        if y.shape != x.shape or y.order != x.order:
            raise node.fail("tensors of different shapes cannot be compared")
        node.emit_like(node.op, x, [y.tensor])
    elif value.size == 1:
        node.emit_like(node.op, x, value=float(value.item()))
    else:
        # Constants are float32, which holds all integers that a table could be indexed with.
        if not node.dtype(0).is_floating_point:
            x.tensor = node.emit("Cast", [x.tensor], node.output + ":float")
        node.emit_like(node.op, x, constants=(node.weight(constant_like(node, value, x)),))


@converter("Not")
def _not(node: Converting) -> None:
    node.emit_like("Not", node.arranged())


@converter("Where")
def _where(node: Converting) -> None:
    """By a constant condition: x·mask + y·(1 − mask), what is masked out finite; by a computed one, the operator itself."""
    condition = node.constant(0)
    computed = [index for index in (0, 1, 2) if node.constant(index) is None]
    like = max((node.arranged(index) for index in computed), key=lambda x: int(np.prod(x.shape)))
    if condition is None:
        names, constants, order = [], [], ""
        for index, letter in ((0, "c"), (1, "x"), (2, "y")):
            value = node.constant(index)
            if value is None:
                found: Arranged = node.arranged(index)
                if found.order != like.order:
                    raise node.fail("the batch lies on different axes of its inputs")
                names.append(found.tensor)
                order += letter
            else:
                constants.append(node.weight(constant_like(node, value, like)))
        tensor = node.emit("Where", names, node.fresh(like), constants=tuple(constants), computed=order)
        node.put_back(like, tensor)
        return
    mask = constant_like(node, condition, like).astype(np.float32)
    parts = []
    for index, weight in ((1, mask), (2, 1 - mask)):
        value = node.constant(index)
        if value is None:
            name = f"{node.output}:{index}"
            parts.append(node.emit("Mul", [node.arranged(index).tensor], name, constants=(node.weight(weight),)))
        else:
            parts.append("")
            fixed = np.nan_to_num(constant_like(node, value, like), posinf=1e9, neginf=-1e9) * weight
    if "" not in parts:
        node.put_back(like, node.emit("Add", parts, node.fresh(like)))
    else:
        node.put_back(like, node.emit("Add", [max(parts)], node.fresh(like), constants=(node.weight(fixed),)))
