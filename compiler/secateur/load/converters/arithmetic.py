"""Sums, products and quotients of tensors, or with constants."""

from __future__ import annotations

import numpy as np

from secateur.load.builder import BATCH, Constant, Converting
from secateur.load.converters.registry import converter
from secateur.load.views import Arranged


def _per_channel(value: Constant, shape: tuple[int, ...]) -> tuple[int, Constant] | None:
    """If ``value`` broadcasts along exactly one axis of ``shape`` (not the batch), return that axis and the vector."""
    wide = [axis for axis, size in enumerate(value.shape) if size != 1]
    if len(wide) == 1 and wide[0] > 0 and value.shape[wide[0]] == shape[wide[0]]:
        return wide[0], value.ravel()
    return None


def constant_like(node: Converting, value: Constant, like: Arranged) -> Constant:
    """Return a constant with the axes of an arranged tensor, 1 for the batch.

    Raises:
        UnsupportedModelError: if it does not broadcast over each sample alike.
    """
    rank, given = len(like.axes), value.shape
    unfit = node.fail(f"a constant of shape {given} does not fit a tensor of shape {like.shape[1:]} for every sample")
    if value.ndim > rank:
        raise unfit
    value = value.reshape((1,) * (rank - value.ndim) + value.shape)
    sizes = [1] * len(like.shape)
    for axis, target in enumerate(like.axes):
        if target is None:
            if value.shape[axis] == BATCH and (value == value.take([0], axis)).all():
                value = value.take([0], axis)
            if value.shape[axis] != 1:
                raise unfit
        else:
            sizes[target] = value.shape[axis]
            if 1 not in (value.shape[axis], like.shape[target]) and value.shape[axis] != like.shape[target]:
                raise unfit
    return value.reshape(sizes)  # the axes keep their order: only some of size 1 are put in or taken out


def computed_like(node: Converting, indices: list[int]) -> list[Arranged]:
    """Return computed inputs with the batch in front; an axis of size 1 broadcasts.

    Raises:
        UnsupportedModelError: if they do not fit axis by axis, or the batch meets another axis.
    """
    found = [node.arranged(index) for index in indices]
    first = found[0]
    for index, other in zip(indices[1:], found[1:]):
        fits = len(first.shape) == len(other.shape) and all(s == t or 1 in (s, t) for s, t in zip(first.shape, other.shape))
        if not fits or (first.order != other.order and not (first.is_plain and other.is_plain)):
            shapes = f"{node.shape(indices[0])[1:]} and {node.shape(index)[1:]}"
            raise node.fail(f"operands of shapes {shapes} are not supported")
    return found


@converter("Add", "Sub", "Mul", "Div")
def _binary(node: Converting) -> None:
    first, second = node.constant(0), node.constant(1)
    if first is None and second is None:
        a, b = computed_like(node, [0, 1])
        node.emit_like(node.op, a, [b.tensor])
        return
    given = first if first is not None else second
    assert given is not None
    x = node.arranged(1 if first is not None else 0)
    value = constant_like(node, given, x).astype(np.float64)
    ones, zeros = np.ones_like(value), np.zeros_like(value)
    if node.op == "Div" and first is not None:
        x.tensor = node.emit("Reciprocal", [x.tensor], node.output + ":reciprocal")
    if node.op == "Sub":
        scale, shift = (-ones, value) if first is not None else (ones, -value)
    elif node.op == "Add":
        scale, shift = ones, value
    else:
        divides = node.op == "Div" and first is None
        if divides and not value.all():
            raise node.fail("it divides by zero")
        scale, shift = (1 / value if divides else value), zeros
    scale_and_shift(node, x, scale, shift)


def scale_and_shift(node: Converting, x: Arranged, scale: Constant, shift: Constant) -> None:
    """Write ``scale · x + shift`` as what it is: for all elements, per channel, or per element.

    Args:
        node: whose output it becomes.
        x: tensor.
        scale: float64, with the axes of ``x``, of the same shape as ``shift``.
        shift: float64.
    """
    if scale.size == 1:
        node.emit_like("ScalarAffine", x, scale=float(scale.item()), shift=float(shift.item()))
        return
    channel = _per_channel(scale, x.shape)
    if channel is not None:
        node.emit_like("Affine", x, table=node.table(scale.ravel(), shift.ravel()), axis=channel[0])
        return
    tensor, adds = x.tensor, bool(shift.any()) or bool((scale == 1).all())
    if (scale == -1).all():
        tensor = node.emit("Neg", [tensor], node.output + ":minus" if adds else node.fresh(x))
    elif not (scale == 1).all():
        name = node.output + ":scaled" if adds else node.fresh(x)
        tensor = node.emit("Mul", [tensor], name, constants=(node.weight(scale),))
    if adds:
        tensor = node.emit("Add", [tensor], node.fresh(x), constants=(node.weight(shift),))
    node.put_back(x, tensor)


@converter("Sum", "Mean")
def _sum(node: Converting) -> None:
    """Sums of any number of tensors become sums of two."""
    count = len(node.given)
    if any(node.constant(index) is not None for index in range(count)):
        raise node.fail("a sum of more than two operands with constants among them is not supported")
    operands = computed_like(node, list(range(count)))
    like, total = operands[0], operands[0].tensor
    for index, operand in enumerate(operands[1:], start=1):
        last = index == count - 1 and node.op == "Sum"
        total = node.emit("Add", [total, operand.tensor], node.fresh(like) if last else f"{node.output}:sum{index}")
    if node.op == "Mean":
        total = node.emit("ScalarAffine", [total], node.fresh(like), scale=1 / count, shift=0.0)
    node.put_back(like, total)


@converter("Min", "Max")
def _extremum(node: Converting) -> None:
    """Against a number it is a ``Clip``; of tensors, or with a constant of another shape, itself."""
    places = range(len(node.given))
    operands = computed_like(node, [index for index in places if node.constant(index) is None])
    x = operands[0]
    values = [constant_like(node, value, x) for value in map(node.constant, places) if value is not None]
    # Nothing is below minus infinity: such a bound says nothing.
    nothing = -np.inf if node.op == "Max" else np.inf
    values = [value for value in values if not (value == nothing).all()]
    if len(operands) == 1 and not values:
        node.put_back(x, x.tensor)
    elif len(operands) == 1 and len(values) == 1 and values[0].size == 1:
        bound = float(values[0].item())
        node.emit_like("Clip", x, min=bound if node.op == "Max" else None, max=bound if node.op == "Min" else None)
    else:
        names = tuple(node.weight(value) for value in values)
        node.emit_like(node.op, x, [each.tensor for each in operands[1:]], **({"constants": names} if names else {}))


@converter("Pow")
def _pow(node: Converting) -> None:
    """Squares, cubes and roots are written as what runtimes compute exactly and fast."""
    value = node.constant(1)
    if value is None or value.size != 1:
        raise node.fail("only a power with one constant exponent is supported")
    x, exponent = node.arranged(), float(value.item())
    if exponent == 2:
        node.emit_like("Mul", x, [x.tensor])
    elif exponent == 3:
        square = node.emit("Mul", [x.tensor, x.tensor], node.output + ":square")
        node.emit_like("Mul", x, [square])
    elif exponent == 0.5:
        node.emit_like("Sqrt", x)
    elif exponent == -0.5:
        root = node.emit("Sqrt", [x.tensor], node.output + ":root")
        node.put_back(x, node.emit("Reciprocal", [root], node.fresh(x)))
    else:
        node.emit_like("Pow", x, exponent=exponent)


@converter("PRelu")
def _prelu(node: Converting) -> None:
    slope = node.constant(1)
    if slope is None:
        raise node.fail("its slope must be constant")
    x = node.arranged()
    if slope.size == 1:
        node.emit_like("LeakyRelu", x, alpha=float(slope.item()))
    else:
        node.emit_like("PRelu", x, constants=(node.weight(constant_like(node, slope, x)),))
