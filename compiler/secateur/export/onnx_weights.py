"""How weights that rungs share stand in an ONNX file: slices of the base, made float again where the file is read."""

from __future__ import annotations

import numpy as np

from secateur.export.formats import Cut
from secateur.export.onnx_writer import OnnxWriter
from secateur.export.operators import weight_axes
from secateur.export.program import BaseSlice, PrivateVector
from secateur.ir import Node, Precision

_FLOAT, _INT8, _HALF = 1, 3, 10


def float_weight(writer: OnnxWriter, cut: Cut, node: Node, precision: Precision) -> str:
    """Write a layer's weight, stored in float, and return its name as float32."""
    return _stored(writer, cut, node.attrs["weight"], weight_axes(cut.network, node), precision)


def shared_constant(writer: OnnxWriter, cut: Cut, name: str, precision: Precision) -> str:
    """Write a shared tensor that is never quantized to integers; return its name as float32."""
    return _stored(writer, cut, name, (), precision)


def _stored(writer: OnnxWriter, cut: Cut, name: str, axes: tuple[int, ...], precision: Precision) -> str:
    half = precision.weights == "<f2"
    piece = BaseSlice(name, cut.index[name], tuple(cut.shapes[name]), axes)
    stored = writer.initializer(piece, piece.shape, _HALF if half else _FLOAT)
    return writer.node("Cast", [stored], to=_FLOAT) if half else stored


def integer_weight(writer: OnnxWriter, cut: Cut, node: Node) -> tuple[str, PrivateVector]:
    """Write a layer's int8 weight and the rung's scales.

    Zero points are written although they are 0: without them ONNX Runtime puts a scalar where a vector must be.

    Returns:
        The name of the dequantized weight, and the scales, (out,).
    """
    name, axes = node.attrs["weight"], weight_axes(cut.network, node)
    piece = BaseSlice(name, cut.index[name], tuple(cut.shapes[name]), axes)
    values = writer.initializer(piece, piece.shape, _INT8)
    scales = PrivateVector(cut.weight_scales[name])
    scale_name = writer.initializer(scales, scales.values.shape, _FLOAT)
    zeros = writer.vector(np.zeros(scales.values.shape, np.int8))
    return writer.node("DequantizeLinear", [values, scale_name, zeros], axis=1 if axes else 0), scales


def is_matrix(cut: Cut, node: Node) -> bool:
    """Whether a layer is written as a matrix product, which has no bias of its own."""
    return node.op == "Linear" and len(cut.network.shapes[node.inputs[0]]) > 2
