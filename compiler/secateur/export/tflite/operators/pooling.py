"""Pools and other reductions; normalisation over positions and over the last axis."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from secateur.export.tflite import axes, schema
from secateur.export.tflite.flatbuffer import Byte, Field, Int
from secateur.export.tflite.layers import write_pad
from secateur.export.tflite.model import one_scale
from secateur.export.tflite.operators.elementwise import layout_of
from secateur.export.tflite.operators.registry import writes
from secateur.export.tflite.padding import as_image, implied, pads_of_image
from secateur.export.tflite.rung import RungWriter, Unwritable
from secateur.ir import Node

_REDUCTIONS = {"ReduceMean": "MEAN", "ReduceSum": "SUM", "ReduceMax": "REDUCE_MAX", "ReduceMin": "REDUCE_MIN"}
_KEEP = {0: Byte(1)}


@writes("MaxPool", "AveragePool", integer=True)
def _pool(writer: RungWriter, node: Node, integer: bool) -> None:
    _of_images(writer, node)
    attrs, name = node.attrs, node.inputs[0]
    average = node.op == "AveragePool"
    kernel, strides = as_image(attrs["kernel_shape"], 1), as_image(attrs["strides"], 1)
    if not average and any(size != 1 for size in attrs["dilations"]):
        raise Unwritable(node, "with dilation cannot be written")
    _, height, width, _ = writer.placed(name, True)
    pads = _whole_pads(writer, node, pads_of_image(attrs["pads"]), kernel, strides)
    same = implied(pads, (height, width), kernel, strides, (1, 1))
    excluded = not average or not attrs["count_include_pad"]
    x = writer.get(name, True, integer)
    if integer:
        writer.set_parameters(node.output, writer.parameters(name))  # the kernels do not rescale
    if same is None or (same == schema.SAME and not excluded):
        if average and excluded:
            raise Unwritable(node, "with such padding cannot be written")
        x, same = write_pad(writer, name, x, pads, integer, None if average else _least(writer, name, integer)), schema.VALID
    options: dict[int, Field] = {0: Byte(same), 1: Int(strides[1]), 2: Int(strides[0]), 3: Int(kernel[1]), 4: Int(kernel[0])}
    operator = "AVERAGE_POOL_2D" if average else "MAX_POOL_2D"
    writer.operator(operator, [x], writer.new(node.output, True, integer), options, integer)


def _of_images(writer: RungWriter, node: Node) -> None:
    if len(writer.network.shapes[node.inputs[0]]) not in axes.MOVED:
        raise Unwritable(node, "in three dimensions cannot be written")


def _whole_pads(
    writer: RungWriter, node: Node, pads: Sequence[int], kernel: Sequence[int], strides: Sequence[int]
) -> tuple[int, ...]:
    """Pads with those at the end that rounding up adds, and without those that no window reaches."""
    before, after = writer.placed(node.inputs[0], True)[1:3], writer.placed(node.output, True)[1:3]
    ends = []
    for axis in range(2):
        reach = (after[axis] - 1) * strides[axis] + kernel[axis]
        ends.append(max(reach - before[axis] - pads[axis], 0))
    if node.op == "AveragePool" and any(end > pad for end, pad in zip(ends, pads[2:])):
        raise Unwritable(node, "that rounds its size up cannot be written")
    return (*pads[:2], *ends) if any((*pads[:2], *ends)) else (0, 0, 0, 0)


def _least(writer: RungWriter, name: str, integer: bool) -> int:
    """A constant that no maximum takes; an int8 one must have the parameters of what is padded."""
    if not integer:
        return writer.scalar(float(np.finfo(np.float32).min))
    found = writer.parameters(name)
    return writer.model.fixed(np.asarray(-128, "|i1"), one_scale(found.scale, found.zero_point))


@writes("GlobalAveragePool", integer=True)
def _global_average_pool(writer: RungWriter, node: Node, integer: bool) -> None:
    _of_images(writer, node)
    x = writer.get(node.inputs[0], True, integer)
    writer.operator("MEAN", [x, writer.numbers([1, 2])], writer.new(node.output, True, integer), _KEEP, integer)


@writes("GlobalMaxPool", integer=True)
def _global_max_pool(writer: RungWriter, node: Node, integer: bool) -> None:
    _of_images(writer, node)
    x = writer.get(node.inputs[0], True, integer)
    if integer:
        writer.set_parameters(node.output, writer.parameters(node.inputs[0]))
    writer.operator("REDUCE_MAX", [x, writer.numbers([1, 2])], writer.new(node.output, True, integer), _KEEP, integer)


@writes(*_REDUCTIONS)
def _reduction(writer: RungWriter, node: Node, integer: bool) -> None:
    last = layout_of(writer, node)
    places = writer.numbers([writer.axis(node.inputs[0], axis, last) for axis in node.attrs["axes"]])
    x = writer.get(node.inputs[0], last)
    writer.operator(_REDUCTIONS[node.op], [x, places], writer.new(node.output, last), _KEEP)


@writes("ReduceL2")
def _norm(writer: RungWriter, node: Node, integer: bool) -> None:
    last = layout_of(writer, node)
    places = writer.numbers([writer.axis(node.inputs[0], axis, last) for axis in node.attrs["axes"]])
    shape = writer.placed(node.output, last)
    x = writer.get(node.inputs[0], last)
    squares = writer.operator("MUL", [x, x], writer.temporary(writer.placed(node.inputs[0], last)))
    total = writer.operator("SUM", [squares, places], writer.temporary(shape), _KEEP)
    writer.operator("SQRT", [total], writer.new(node.output, last))


@writes("InstanceNormalization")
def _instance_norm(writer: RungWriter, node: Node, integer: bool) -> None:
    _of_images(writer, node)
    _normalised(writer, node, True, [1, 2])


@writes("LayerNormalization")
def _layer_norm(writer: RungWriter, node: Node, integer: bool) -> None:
    last = layout_of(writer, node)
    _normalised(writer, node, last, [writer.axis(node.output, node.attrs["axis"], last)])


def _normalised(writer: RungWriter, node: Node, last: bool, over: Sequence[int]) -> None:
    """(x − mean) ÷ √(variance + ε)."""
    last = last and len(writer.network.shapes[node.output]) in axes.MOVED
    whole = writer.placed(node.output, last)
    one = [1 if axis in over else size for axis, size in enumerate(whole)]
    x, places = writer.get(node.inputs[0], last), writer.numbers(over)
    mean = writer.operator("MEAN", [x, places], writer.temporary(one), _KEEP)
    centred = writer.operator("SUB", [x, mean], writer.temporary(whole))
    squares = writer.operator("MUL", [centred, centred], writer.temporary(whole))
    variance = writer.operator("MEAN", [squares, places], writer.temporary(one), _KEEP)
    safe = writer.operator("ADD", [variance, writer.scalar(float(node.attrs["epsilon"]))], writer.temporary(one))
    factor = writer.operator("RSQRT", [safe], writer.temporary(one))
    writer.operator("MUL", [centred, factor], writer.new(node.output, last))
