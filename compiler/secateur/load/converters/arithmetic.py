"""Sums, products and quotients of tensors, or with constants."""

from __future__ import annotations

import numpy as np

from secateur.load.builder import Constant, Converting
from secateur.load.converters.registry import converter


def _per_channel(value: Constant, shape: tuple[int, ...]) -> tuple[int, Constant] | None:
    """If ``value`` broadcasts along exactly one axis of ``shape`` (not the batch), return that axis and the vector."""
    if value.ndim > len(shape):
        return None
    padded = value.reshape((1,) * (len(shape) - value.ndim) + value.shape)
    wide = [axis for axis, size in enumerate(padded.shape) if size != 1]
    if len(wide) == 1 and wide[0] > 0 and padded.shape[wide[0]] == shape[wide[0]]:
        return wide[0], value.ravel()
    return None


@converter("Add", "Sub", "Mul", "Div")
def _binary(node: Converting) -> None:
    first, second = node.constant(0), node.constant(1)
    if first is None and second is None:
        if node.op == "Div":
            raise node.fail("a quotient of two computed tensors is not supported")
        if node.shape(0) != node.shape(1):
            raise node.fail(f"operands of shapes {node.shape(0)[1:]} and {node.shape(1)[1:]} are not supported")
        node.emit(node.op, node.inputs[:2])
        return
    if first is not None and node.op in ("Sub", "Div"):
        raise node.fail("a constant on the left is not supported")
    value = first if first is not None else second
    variable = 1 if first is not None else 0
    assert value is not None
    values = value.astype(np.float64)
    scale = {"Mul": values, "Div": 1 / values}.get(node.op, np.ones_like(values))
    shift = {"Add": values, "Sub": -values}.get(node.op, np.zeros_like(values))
    if value.size == 1 and value.ndim <= len(node.shape(variable)):
        node.emit("ScalarAffine", [node.inputs[variable]], scale=float(scale.item()), shift=float(shift.item()))
        return
    channel = _per_channel(value, node.shape(variable))
    if channel is None:
        raise node.fail(f"a constant of shape {value.shape} is not supported, only a number or one value per channel")
    node.emit("Affine", [node.inputs[variable]], table=node.table(scale.ravel(), shift.ravel()), axis=channel[0])
