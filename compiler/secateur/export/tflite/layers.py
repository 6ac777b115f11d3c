"""Convolutions and fully connected layers, with the private scale and shift behind them.

In int8 the scale is in the weight's quantization scales and the shift is the bias; so it is where weights alone are int8,
whose DEQUANTIZE runs once, when the file is loaded. Shared weights in float must stay as they are: there scale and shift are
operators of their own.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from secateur.export.integer_bias import integer_bias
from secateur.export.program import BaseSlice, PrivateVector
from secateur.export.tflite import schema
from secateur.export.tflite.flatbuffer import Byte, Field, Int
from secateur.export.tflite.padding import as_image, implied, pads_of_image
from secateur.export.tflite.rung import RungWriter, Unwritable
from secateur.ir import Node, Table


@dataclass(frozen=True)
class Kernel:
    """How a layer's weight lies in the file.

    Attributes:
        operator: that reads it.
        moved: axes of the shared weight, (out, in / groups, kernel…), in the file's order.
        shape: in the file.
        axis: of the output channels there.
    """

    operator: str
    moved: tuple[int, ...]
    shape: tuple[int, ...]
    axis: int


def write_layer(writer: RungWriter, node: Node, affine: Node) -> str:
    """Write a layer and return the tensor that it gives, which may be that of the activation behind it."""
    kernel = _kernel(writer, node)
    table = writer.network.tables[affine.attrs["table"]]
    last = kernel.operator != "FULLY_CONNECTED"
    name, integer = node.attrs["weight"], writer.precision.activations
    if name not in writer.cut.weight_scales:
        return _float_layer(writer, node, affine, kernel, table)
    end, activation = writer.follows(affine, integer)
    if kernel.operator == "TRANSPOSE_CONV" and not integer:
        end, activation = affine.output, schema.NONE  # older runtimes have it without
    scales = PrivateVector(np.asarray(writer.cut.weight_scales[name], "<f4"))
    piece = BaseSlice(name, writer.cut.index[name], tuple(writer.cut.shapes[name]), kernel.moved)
    factor = float(np.float32(writer.parameters(node.inputs[0]).scale if integer else 1))
    of_weight, of_bias = writer.model.channels(scales, kernel.axis, factor)
    weight = writer.model.constant(piece, kernel.shape, "|i1", of_weight)
    if integer:
        bias = writer.model.constant(PrivateVector(integer_bias(table, scales, factor)), table.shift.shape, "<i4", of_bias)
        x = _padded(writer, node, writer.get(node.inputs[0], last, True), True)
        _layer(writer, node, kernel, [x, weight, bias], writer.new(end, last, True), end, activation, True)
    else:
        exact = writer.operator("DEQUANTIZE", [weight], writer.temporary(kernel.shape))
        x = _padded(writer, node, writer.get(node.inputs[0], last), False)
        bias = writer.vector(table.shift)
        _layer(writer, node, kernel, [x, exact, bias], writer.new(end, last), end, activation, False)
    return end


def _float_layer(writer: RungWriter, node: Node, affine: Node, kernel: Kernel, table: Table) -> str:
    end, activation = writer.follows(affine)
    last = kernel.operator != "FULLY_CONNECTED"
    weight = writer.shared(node.attrs["weight"], kernel.moved, kernel.shape)
    x = _padded(writer, node, writer.get(node.inputs[0], last), False)
    placed = writer.placed(end, last)
    # Without a bias fast kernels refuse the layer.
    zeros = writer.vector(np.zeros(table.shift.size))
    plain = _layer(writer, node, kernel, [x, weight, zeros], writer.temporary(placed), end, schema.NONE, False)
    scaled = writer.operator("MUL", [plain, writer.vector(table.scale)], writer.temporary(placed))
    options: dict[int, Field] = {0: Byte(activation)} if activation else {}
    writer.operator("ADD", [scaled, writer.vector(table.shift)], writer.new(end, last), options)
    return end


def _kernel(writer: RungWriter, node: Node) -> Kernel:
    shape = writer.network.weights[node.attrs["weight"]].shape
    if node.op == "Linear":
        return Kernel("FULLY_CONNECTED", (), tuple(shape), 0)
    outputs, inputs, *sizes = shape
    if len(sizes) > 2:
        raise Unwritable(node, "in three dimensions cannot be written")
    ones = (1,) * (2 - len(sizes))
    spatial = tuple(range(2, 2 + len(sizes)))
    if node.op == "ConvTranspose":
        if node.attrs["groups"] > 1:
            raise Unwritable(node, "with groups cannot be written")
        return Kernel("TRANSPOSE_CONV", (0, *spatial, 1), (outputs, *ones, *sizes, inputs), 0)
    if _depthwise(writer, node):
        return Kernel("DEPTHWISE_CONV_2D", (1, *spatial, 0), (1, *ones, *sizes, outputs), 3)
    return Kernel("CONV_2D", (0, *spatial, 1), (outputs, *ones, *sizes, inputs), 0)


def _depthwise(writer: RungWriter, node: Node) -> bool:
    """Whether a convolution is depthwise; asked of the base, for a rung may have a single channel."""
    name = node.attrs["weight"]
    return writer.cut.groups.get(name, node.attrs["groups"]) > 1 and writer.cut.shapes[name][1] == 1


def _padded(writer: RungWriter, node: Node, x: int, integer: bool) -> int:
    """Write the padding that the operator itself does not have."""
    if node.op != "Conv" or _implied(writer, node) is not None:
        return x
    return write_pad(writer, node.inputs[0], x, pads_of_image(node.attrs["pads"]), integer)


def write_pad(writer: RungWriter, name: str, x: int, pads: tuple[int, ...], integer: bool, value: int | None = None) -> int:
    """Pad an image and return the result.

    Args:
        writer: of the rung.
        name: of the tensor in the network.
        x: the tensor, channels last.
        pads: top, left, bottom, right.
        integer: whether it is int8.
        value: constant to pad with; zero if None.
    """
    top, left, bottom, right = pads
    batch, height, width, channels = writer.placed(name, True)
    shape = [batch, height + top + bottom, width + left + right, channels]
    after = writer.like(name, shape, integer)
    amounts = writer.numbers([[0, 0], [top, bottom], [left, right], [0, 0]])
    if value is None:
        return writer.operator("PAD", [x, amounts], after, integer=integer)
    return writer.operator("PADV2", [x, amounts, value], after, integer=integer)


def _implied(writer: RungWriter, node: Node) -> int | None:
    attrs, sizes = node.attrs, writer.network.shapes[node.inputs[0]][2:]
    kernel = writer.network.weights[attrs["weight"]].shape[2:]
    return implied(attrs["pads"], sizes, kernel, attrs["strides"], attrs["dilations"])


def _layer(
    writer: RungWriter, node: Node, kernel: Kernel, inputs: list[int], output: int, end: str, activation: int, integer: bool
) -> int:
    if kernel.operator == "FULLY_CONNECTED":
        keep = len(writer.network.shapes[node.inputs[0]]) > 2
        options: dict[int, Field] = {0: Byte(activation), 2: Byte(int(keep))}
        return writer.operator(kernel.operator, inputs, output, options, integer)
    if kernel.operator == "TRANSPOSE_CONV":
        return _transposed(writer, node, inputs, output, end, integer)
    padding = _implied(writer, node)
    height, width = as_image(node.attrs["strides"], 1)
    down, across = as_image(node.attrs["dilations"], 1)
    options = {0: Byte(schema.VALID if padding is None else padding), 1: Int(width), 2: Int(height)}
    if kernel.operator == "CONV_2D":
        options |= {3: Byte(activation), 4: Int(across), 5: Int(down)}
    else:
        # How many channels each channel gives: the same in every rung.
        multiplier = kernel.shape[3] // writer.network.shapes[node.inputs[0]][1]
        options |= {3: Int(multiplier), 4: Byte(activation), 5: Int(across), 6: Int(down)}
    return writer.operator(kernel.operator, inputs, output, options, integer)


def _transposed(writer: RungWriter, node: Node, inputs: list[int], output: int, end: str, integer: bool) -> int:
    """The whole result, then the part of it that the pads leave."""
    x, weight, bias = inputs
    attrs = node.attrs
    if any(size != 1 for size in attrs["dilations"]):
        raise Unwritable(node, "with dilation cannot be written")
    strides = as_image(attrs["strides"], 1)
    top, left, *_ = pads_of_image(attrs["pads"])
    kernel = writer.network.weights[attrs["weight"]].shape[2:]
    batch, height, width, channels = writer.placed(node.output, True)
    _, before, across, _ = writer.placed(node.inputs[0], True)
    sizes = [
        max((count - 1) * stride + reach, begin + size)
        for count, stride, reach, begin, size in zip(
            (before, across), strides, as_image(kernel, 1), (top, left), (height, width)
        )
    ]
    whole = [batch, *sizes, channels]
    cropped = sizes != [height, width]
    given = writer.like(end, whole, integer) if cropped else output
    options: dict[int, Field] = {0: Byte(schema.VALID), 1: Int(strides[1]), 2: Int(strides[0])}
    writer.operator("TRANSPOSE_CONV", [writer.sizes(whole), weight, x, bias], given, options, integer)
    if cropped:
        corners = [0, top, left, 0], [batch, top + height, left + width, channels], [1, 1, 1, 1]
        writer.operator("STRIDED_SLICE", [given, *map(writer.sizes, corners)], output, integer=integer)
    return output
