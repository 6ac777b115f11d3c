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


def full_rank(node: Converting, value: Constant, shape: tuple[int, ...]) -> Constant:
    """Return a constant with as many axes as the tensor that it meets, the first being the batch.

    Raises:
        UnsupportedModelError: if it does not broadcast over each sample alike.
    """
    if value.ndim <= len(shape):
        value = value.reshape((1,) * (len(shape) - value.ndim) + value.shape)
        fits = all(1 in pair or pair[0] == pair[1] for pair in zip(value.shape[1:], shape[1:]))
        if value.shape[0] == 1 and fits:
            return value
    raise node.fail(f"a constant of shape {value.shape} does not fit a tensor of shape {shape[1:]} for every sample")


def same_rank(node: Converting, inputs: list[int]) -> None:
    """Check that computed tensors broadcast axis by axis.

    Raises:
        UnsupportedModelError: if they do not, or the batch meets another axis.
    """
    shapes = [node.shape(index) for index in inputs]
    for shape in shapes[1:]:
        if len(shape) != len(shapes[0]) or any(1 not in pair and pair[0] != pair[1] for pair in zip(shape, shapes[0])):
            raise node.fail(f"operands of shapes {shapes[0][1:]} and {shape[1:]} are not supported")


def scale_and_shift(node: Converting, x: str, shape: tuple[int, ...], scale: Constant, shift: Constant) -> None:
    """Write ``scale · x + shift`` as what it is: for all elements, per channel, or per element.

    Args:
        node: whose output it becomes.
        x: tensor.
        shape: of ``x``, the batch being `BATCH`.
        scale: float64, of the same shape as ``shift``.
        shift: float64.
    """
    if scale.size == 1 and scale.ndim <= len(shape):
        node.emit("ScalarAffine", [x], scale=float(scale.item()), shift=float(shift.item()))
        return
    channel = _per_channel(scale, shape)
    if channel is not None:
        node.emit("Affine", [x], table=node.table(scale.ravel(), shift.ravel()), axis=channel[0])
        return
    scale, shift = full_rank(node, scale, shape), full_rank(node, shift, shape)
    plain = not shift.any()
    if not (scale == 1).all():
        x = node.emit("Mul", [x], "" if plain else node.output + ":scaled", constants=(node.weight(scale),))
    if not plain or (scale == 1).all():
        node.emit("Add", [x], constants=(node.weight(shift),))


@converter("Add", "Sub", "Mul", "Div")
def _binary(node: Converting) -> None:
    first, second = node.constant(0), node.constant(1)
    if first is None and second is None:
        same_rank(node, [0, 1])
        node.emit(node.op, node.inputs[:2])
        return
    value = first if first is not None else second
    variable = 1 if first is not None else 0
    assert value is not None
    x, shape, values = node.inputs[variable], node.shape(variable), value.astype(np.float64)
    ones, zeros = np.ones_like(values), np.zeros_like(values)
    if node.op == "Div" and first is not None:
        x = node.emit("Reciprocal", [x], node.output + ":reciprocal")
    if node.op == "Sub":
        scale, shift = (-ones, values) if first is not None else (ones, -values)
    elif node.op == "Add":
        scale, shift = ones, values
    else:
        if node.op == "Div" and first is None and not values.all():
            raise node.fail("it divides by zero")
        scale, shift = (1 / values if node.op == "Div" and first is None else values), zeros
    scale_and_shift(node, x, shape, scale, shift)


@converter("Sum", "Mean")
def _sum(node: Converting) -> None:
    """Sums of any number of tensors become sums of two."""
    if any(node.constant(index) is not None for index in range(len(node.inputs))):
        raise node.fail("a sum of more than two operands with constants among them is not supported")
    same_rank(node, list(range(len(node.inputs))))
    total = node.inputs[0]
    for index, name in enumerate(node.inputs[1:], start=1):
        last = index == len(node.inputs) - 1 and node.op == "Sum"
        total = node.emit("Add", [total, name], "" if last else f"{node.output}:sum{index}")
    if node.op == "Mean":
        node.emit("ScalarAffine", [total], scale=1 / len(node.inputs), shift=0.0)
    elif len(node.inputs) == 1:
        node.alias(total)


@converter("Min", "Max")
def _extremum(node: Converting) -> None:
    """Against a number it is a ``Clip``; of tensors, or with a constant of another shape, itself."""
    variables = [index for index in range(len(node.inputs)) if node.constant(index) is None]
    constants = [np.asarray(node.constant(index)) for index in range(len(node.inputs)) if index not in variables]
    same_rank(node, variables)
    shape = node.shape(variables[0])
    bound = "min" if node.op == "Max" else "max"
    if len(variables) == 1 and len(constants) == 1 and constants[0].size == 1 and constants[0].ndim <= len(shape):
        node.emit("Clip", [node.inputs[variables[0]]], **{"min": None, "max": None, bound: float(constants[0].item())})
        return
    if len(node.inputs) == 1:
        node.alias(node.inputs[0])
        return
    names = tuple(node.weight(full_rank(node, value, shape)) for value in constants)
    node.emit(node.op, [node.inputs[index] for index in variables], **({"constants": names} if names else {}))


@converter("Pow")
def _pow(node: Converting) -> None:
    exponent = node.constant(1)
    if exponent is None or exponent.size != 1:
        raise node.fail("only a power with one constant exponent is supported")
    node.emit("Pow", exponent=float(exponent.item()))


@converter("PRelu")
def _prelu(node: Converting) -> None:
    slope = node.constant(1)
    if slope is None:
        raise node.fail("its slope must be constant")
    if slope.size == 1:
        node.emit("LeakyRelu", alpha=float(slope.item()))
    else:
        node.emit("PRelu", constants=(node.weight(full_rank(node, slope, node.shape())),))
