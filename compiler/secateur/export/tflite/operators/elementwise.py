"""Arithmetic, element by element, and softmax."""

from __future__ import annotations

from collections.abc import Sequence

from secateur.export.tflite import axes, schema
from secateur.export.tflite.flatbuffer import Byte, Field, Float
from secateur.export.tflite.operators.registry import writes
from secateur.export.tflite.rung import RungWriter, Unwritable
from secateur.ir import Node

_BINARY = {"Add": "ADD", "Sub": "SUB", "Mul": "MUL", "Div": "DIV", "Min": "MINIMUM", "Max": "MAXIMUM"}
_CAN_END = ("ADD", "SUB", "MUL", "DIV")
"""Operators that can end with an activation."""


def layout_of(writer: RungWriter, node: Node) -> bool:
    """Whether an operator that takes tensors either way computes on those with channels last."""
    return any(writer.is_last(name) for name in node.inputs)


def operands(writer: RungWriter, node: Node, last: bool, integer: bool = False) -> list[int]:
    """Return the computed inputs of an operator, then its constants, so that they broadcast."""
    rank = len(writer.network.shapes[node.output])
    if last and any(len(writer.network.shapes[name]) not in (rank, 0) for name in node.inputs):
        raise Unwritable(node, "of images and tensors of other ranks cannot be written")
    found = [writer.get(name, last, integer) for name in node.inputs]
    return found + [_constant(writer, node, name, rank, last) for name in node.constants]


def _constant(writer: RungWriter, node: Node, name: str, rank: int, last: bool) -> int:
    shape = [len(index) for index in writer.cut.index[name]] + list(writer.cut.shapes[name][len(writer.cut.index[name]) :])
    if not last or rank not in axes.MOVED:
        return writer.shared(name)
    full = [1] * (rank - len(shape)) + shape
    wide = [axis for axis, size in enumerate(writer.cut.shapes[name], rank - len(shape)) if size > 1]
    placed = axes.last_shape(full)
    if len(wide) <= 1:
        return writer.shared(name, (), placed)
    if len(shape) != rank:
        raise Unwritable(node, "with a constant of another rank cannot be written")
    return writer.shared(name, axes.MOVED[rank], placed)


@writes("Reciprocal")
def _reciprocal(writer: RungWriter, node: Node, integer: bool) -> None:
    last = layout_of(writer, node)
    x = writer.get(node.inputs[0], last)
    writer.operator("DIV", [writer.scalar(1.0), x], writer.new(node.output, last))


@writes("Pow")
def _pow(writer: RungWriter, node: Node, integer: bool) -> None:
    last = layout_of(writer, node)
    chain(writer, node, writer.get(node.inputs[0], last), last, [("POW", [writer.scalar(float(node.attrs["exponent"]))])])


@writes("ScalarAffine")
def _scalar_affine(writer: RungWriter, node: Node, integer: bool) -> None:
    last = layout_of(writer, node)
    steps = [("MUL", [writer.scalar(float(node.attrs["scale"]))]), ("ADD", [writer.scalar(float(node.attrs["shift"]))])]
    chain(writer, node, writer.get(node.inputs[0], last), last, steps)


@writes("Affine")
def _affine(writer: RungWriter, node: Node, integer: bool) -> str:
    """A scale and shift that does not follow a weight."""
    end, activation = writer.follows(node)
    last = layout_of(writer, node)
    table, rank = writer.network.tables[node.attrs["table"]], len(writer.network.shapes[node.output])
    shape = [1] * rank
    shape[node.attrs["axis"] % rank] = table.scale.size
    placed = axes.last_shape(shape) if last and rank in axes.MOVED else shape
    x = writer.get(node.inputs[0], last)
    scaled = writer.operator(
        "MUL", [x, writer.vector(table.scale, placed)], writer.temporary(writer.placed(node.output, last))
    )
    options: dict[int, Field] = {0: Byte(activation)} if activation else {}
    writer.operator("ADD", [scaled, writer.vector(table.shift, placed)], writer.new(end, last), options)
    return end


@writes("Add", "Sub", "Mul", integer=True)
def _arithmetic(writer: RungWriter, node: Node, integer: bool) -> str:
    integer = integer and len(node.inputs) == 2
    return _binary(writer, node, integer)


@writes("Div", "Min", "Max")
def _float_arithmetic(writer: RungWriter, node: Node, integer: bool) -> str:
    return _binary(writer, node, False)


def _binary(writer: RungWriter, node: Node, integer: bool) -> str:
    name, last = _BINARY[node.op], layout_of(writer, node)
    end, activation = writer.follows(node, integer) if name in _CAN_END else (node.output, schema.NONE)
    first, *others = operands(writer, node, last, integer)
    options: dict[int, Field] = {0: Byte(activation)} if activation else {}
    for each in others[:-1]:
        first = writer.operator(name, [first, each], writer.temporary(writer.placed(node.output, last)))
    writer.operator(name, [first, others[-1]], writer.new(end, last, integer), options, integer)
    return end


@writes("Softmax", "LogSoftmax")
def _softmax(writer: RungWriter, node: Node, integer: bool) -> None:
    rank = len(writer.network.shapes[node.output])
    axis = node.attrs.get("axis", -1) % rank
    last = layout_of(writer, node) and rank in axes.MOVED
    if last and axis != 1:
        last = False
    if not last and axis != rank - 1:
        if axis != 1 or rank not in axes.MOVED:
            raise Unwritable(node, "over this axis cannot be written")
        last = True
    name, options = ("SOFTMAX", {0: Float(1.0)}) if node.op == "Softmax" else ("LOG_SOFTMAX", {})
    writer.operator(name, [writer.get(node.inputs[0], last)], writer.new(node.output, last), options)


def chain(writer: RungWriter, node: Node, x: int, last: bool, steps: Sequence[tuple[str, list[int]]]) -> None:
    """Operators one after the other, each on the result of the one before; the last gives the node's output."""
    *before, (name, others) = steps
    for each, more in before:
        x = writer.operator(each, [x, *more], writer.temporary(writer.placed(node.output, last)))
    writer.operator(name, [x, *others], writer.new(node.output, last))
