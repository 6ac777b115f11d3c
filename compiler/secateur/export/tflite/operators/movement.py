"""Operators that move, join or pick elements. What only moves values has the parameters of its input."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from secateur.export.tflite import axes
from secateur.export.tflite.flatbuffer import Field, Int
from secateur.export.tflite.operators.elementwise import layout_of
from secateur.export.tflite.operators.registry import writes
from secateur.export.tflite.rung import RungWriter, Unwritable
from secateur.ir import Node


def moving(
    writer: RungWriter,
    node: Node,
    name: str,
    last: bool,
    integer: bool,
    others: Sequence[int] = (),
    options: Mapping[int, Field] | None = None,
) -> None:
    """Write an operator that moves values of its first input."""
    x = writer.get(node.inputs[0], last, integer)
    if integer:
        writer.set_parameters(node.output, writer.parameters(node.inputs[0]))
    writer.operator(
        name, [x, *others], writer.new(node.output, last, integer, writer.kind(node.inputs[0])), options, integer
    )


@writes("Concat", integer=True)
def _concat(writer: RungWriter, node: Node, integer: bool) -> None:
    last = layout_of(writer, node)
    parts = [writer.get(name, last, integer) for name in node.inputs]
    if integer:  # also where the parameters happen to be the same: rungs of one ladder have the same operators
        parts = [_requantized(writer, node, name, part, last) for name, part in zip(node.inputs, parts)]
    axis = writer.axis(node.output, node.attrs["axis"], last)
    kind = writer.kind(node.inputs[0])
    writer.operator("CONCATENATION", parts, writer.new(node.output, last, integer, kind), {0: Int(axis)}, integer)


def _requantized(writer: RungWriter, node: Node, name: str, part: int, last: bool) -> int:
    """The kernel takes parts of its own scale alone."""
    return writer.operator("QUANTIZE", [part], writer.like(node.output, writer.placed(name, last), True), integer=True)


@writes("Take", integer=True)
def _take(writer: RungWriter, node: Node, integer: bool) -> None:
    last = layout_of(writer, node)
    axis = writer.axis(node.inputs[0], node.attrs["axis"], last)
    index = writer.sizes([int(i) for i in node.attrs["index"]])
    moving(writer, node, "GATHER", last, integer, [index], {0: Int(axis)})


@writes("Slice", integer=True)
def _slice(writer: RungWriter, node: Node, integer: bool) -> None:
    last = layout_of(writer, node)
    before = writer.placed(node.inputs[0], last)
    starts, stops, steps = [0] * len(before), list(before), [1] * len(before)
    for axis, start, stop, step in zip(*(node.attrs[key] for key in ("axes", "starts", "stops", "steps"))):
        place = writer.axis(node.inputs[0], axis, last)
        size = before[place]
        if step < 1:
            raise Unwritable(node, "backwards cannot be written")
        starts[place], stops[place], _ = slice(start, stop, step).indices(size)
        steps[place] = step
    moving(writer, node, "STRIDED_SLICE", last, integer, [writer.sizes(starts), writer.sizes(stops), writer.numbers(steps)])


@writes("Pad", integer=True)
def _pad(writer: RungWriter, node: Node, integer: bool) -> None:
    begins, ends = node.attrs["begins"], node.attrs["ends"]
    if any(pad < 0 for pad in (*begins, *ends)):
        raise Unwritable(node, "that crops cannot be written")
    _padded(writer, node, "PAD", list(zip(begins, ends)), integer)


@writes("ReflectPad")
def _reflect_pad(writer: RungWriter, node: Node, integer: bool) -> None:
    rank = len(writer.network.shapes[node.output])
    _padded(writer, node, "MIRROR_PAD", [(0, 0)] * (rank - 1) + [(node.attrs["begin"], node.attrs["end"])], False)


def _padded(writer: RungWriter, node: Node, name: str, pads: Sequence[tuple[int, int]], integer: bool) -> None:
    last = layout_of(writer, node)
    amounts = [(0, 0)] * len(writer.placed(node.output, last))
    for axis, pair in enumerate(pads):
        amounts[writer.axis(node.output, axis, last)] = pair
    moving(writer, node, name, last, integer, [writer.sizes(amounts)])


@writes("Expand", integer=True)
def _expand(writer: RungWriter, node: Node, integer: bool) -> None:
    last = layout_of(writer, node)
    moving(writer, node, "BROADCAST_TO", last, integer, [writer.sizes(writer.placed(node.output, last))])


@writes("Transpose", integer=True)
def _transpose(writer: RungWriter, node: Node, integer: bool) -> None:
    """Axes that lie in the wanted order already, since channels are last, are not moved."""
    perm, name = tuple(node.attrs["perm"]), node.inputs[0]
    if writer.is_last(name) and perm == axes.MOVED.get(len(perm)):
        x = writer.get(name, True, integer)
        _same_order(writer, node, x, False, integer)
    else:
        moving(writer, node, "TRANSPOSE", False, integer, [writer.numbers(perm)])


@writes("Reshape", "Flatten", integer=True)
def _reshape(writer: RungWriter, node: Node, integer: bool) -> None:
    before, after = writer.shape(node.inputs[0]), writer.shape(node.output)
    last = writer.is_last(node.inputs[0])
    if last and all(size == 1 for size in before[2:]) and all(size == 1 for size in after[2:]):
        _same_order(writer, node, writer.get(node.inputs[0], True, integer), len(after) in axes.MOVED, integer)
    elif last and len(before) == 4 and len(after) == 3 and after[1] == before[1]:
        # The positions of an image as a sequence: channels stay last.
        _same_order(writer, node, writer.get(node.inputs[0], True, integer), True, integer)
    else:
        _same_order(writer, node, writer.get(node.inputs[0], False, integer), False, integer)


def _same_order(writer: RungWriter, node: Node, x: int, last: bool, integer: bool) -> None:
    if integer:
        writer.set_parameters(node.output, writer.parameters(node.inputs[0]))
    after = writer.new(node.output, last, integer, writer.kind(node.inputs[0]))
    writer.operator("RESHAPE", [x, writer.sizes(writer.placed(node.output, last))], after, integer=integer)
