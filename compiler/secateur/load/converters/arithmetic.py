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
    """Return a constant with the axes of an arranged tensor, 1 for the batch."""
    rank = len(like.axes)
    if value.ndim > rank:
        raise node.fail(f"a constant of shape {value.shape} has more axes than the tensor")
    value = value.reshape((1,) * (rank - value.ndim) + value.shape)
    sizes = [1] * len(like.shape)
    for axis, target in enumerate(like.axes):
        if target is None:
            if value.shape[axis] == BATCH and (value == value.take([0], axis)).all():
                value = value.take([0], axis)
            if value.shape[axis] != 1:
                raise node.fail("a constant that differs between samples is not supported")
        else:
            sizes[target] = value.shape[axis]
    return value.reshape(sizes)  # the axes keep their order: only some of size 1 are put in or taken out


@converter("Add", "Sub", "Mul", "Div", "Pow", "Max", "Min")
def _binary(node: Converting) -> None:
    if len(node.given) != 2:
        raise node.fail("only two operands are supported")
    first, second = node.constant(0), node.constant(1)
    if first is None and second is None:
        _computed(node)
        return
    value = first if first is not None else second
    assert value is not None
    x = node.arranged(1 if first is not None else 0)
    value = constant_like(node, value, x)
    if any(size not in (1, other) and other != 1 for size, other in zip(value.shape, x.shape)):
        raise node.fail(f"a constant of shape {value.shape} does not fit a tensor of shape {x.shape[1:]}")
    if first is not None and node.op in ("Div", "Pow"):
        _constant_left(node, value, x)
    elif node.op in ("Add", "Sub", "Mul", "Div"):
        _affine(node, value.astype(np.float64), x, negated=first is not None and node.op == "Sub")
    elif node.op == "Pow":
        if value.size != 1:
            raise node.fail("only a number is supported as exponent")
        _power(node, x, float(value.item()))
    elif value.size == 1 and np.isinf(value).all():
        node.put_back(x, x.tensor)
    elif value.size == 1:
        bound = float(value.item())
        node.emit_like("Clip", x, min=bound if node.op == "Max" else None, max=bound if node.op == "Min" else None)
    else:
        node.emit_like(node.op, x, constants=(node.weight(value),))


def _affine(node: Converting, value: Constant, x: Arranged, negated: bool) -> None:
    """A scale or shift by a number, by one value per channel, or by a tensor that all samples share."""
    sign = -1.0 if negated else 1.0
    scale = value if node.op == "Mul" else 1 / value if node.op == "Div" else np.full_like(value, sign)
    shift = value * (-sign if node.op == "Sub" else 1.0) if node.op in ("Add", "Sub") else np.zeros_like(value)
    if value.size == 1:
        node.emit_like("ScalarAffine", x, scale=float(scale.item()), shift=float(shift.item()))
        return
    channel = _per_channel(value, x.shape)
    if channel is not None:
        node.emit_like("Affine", x, table=node.table(scale.ravel(), shift.ravel()), axis=channel[0])
    elif node.op in ("Mul", "Div"):
        node.emit_like("Mul", x, constants=(node.weight(scale),))
    elif negated:
        minus = node.emit("Neg", [x.tensor], node.output + ":minus")
        node.put_back(x, node.emit("Add", [minus], node.fresh(x), constants=(node.weight(value),)))
    else:
        node.emit_like("Add", x, constants=(node.weight(shift),))


def _constant_left(node: Converting, value: Constant, x: Arranged) -> None:
    if value.size != 1 or node.op == "Pow":
        raise node.fail("a constant on the left is not supported, only a number divided by a tensor")
    inverse = node.emit("Reciprocal", [x.tensor], node.output + ":inverse")
    tensor = node.emit("ScalarAffine", [inverse], node.fresh(x), scale=float(value.item()), shift=0.0)
    node.put_back(x, tensor)


def _power(node: Converting, x: Arranged, exponent: float) -> None:
    if exponent == 2:
        node.emit_like("Mul", x, [x.tensor])
    elif exponent == 3:
        square = node.emit("Mul", [x.tensor, x.tensor], node.output + ":square")
        node.put_back(x, node.emit("Mul", [square, x.tensor], node.fresh(x)))
    elif exponent == 0.5:
        node.emit_like("Sqrt", x)
    elif exponent == -0.5:
        root = node.emit("Sqrt", [x.tensor], node.output + ":root")
        node.put_back(x, node.emit("Reciprocal", [root], node.fresh(x)))
    else:
        raise node.fail(f"the exponent {exponent:g} is not supported")


def _computed(node: Converting) -> None:
    """Two computed tensors; an axis of size 1 broadcasts."""
    if node.op == "Pow":
        raise node.fail("a computed exponent is not supported")
    a, b = node.arranged(0), node.arranged(1)
    fits = len(a.shape) == len(b.shape) and all(s == t or 1 in (s, t) for s, t in zip(a.shape, b.shape))
    if not fits or (a.order != b.order and not (a.is_plain and b.is_plain)):
        raise node.fail(f"operands of shapes {node.shape(0)[1:]} and {node.shape(1)[1:]} are not supported")
    node.emit_like(node.op, a, [b.tensor])
