"""Operators that change the resolution."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from secateur.export.tflite.flatbuffer import Byte, Field, Int
from secateur.export.tflite.operators.movement import moving
from secateur.export.tflite.operators.registry import writes
from secateur.export.tflite.rung import RungWriter
from secateur.ir import Node
from secateur.ir.resizing import coordinates, interpolation, nearest


@writes("DepthToSpace", integer=True)
def _depth_to_space(writer: RungWriter, node: Node, integer: bool) -> None:
    """TFLite takes the channel last of a block's places; where the network takes it first, channels change places before."""
    block = node.attrs["blocksize"]
    name = node.inputs[0]
    x = writer.get(name, True, integer)
    if integer:
        writer.set_parameters(node.output, writer.parameters(name))
    if node.attrs["mode"] == "CRD":
        shape = writer.placed(name, True)
        order = np.arange(shape[3]).reshape(-1, block * block).T.ravel()
        index = writer.model.private(order.astype("<i4"))
        x = writer.operator("GATHER", [x, index], writer.like(name, shape, integer), {0: Int(3)}, integer)
    writer.operator("DEPTH_TO_SPACE", [x], writer.new(node.output, True, integer), {0: Int(block)}, integer)


@writes("SpaceToDepth", integer=True)
def _space_to_depth(writer: RungWriter, node: Node, integer: bool) -> None:
    moving(writer, node, "SPACE_TO_DEPTH", True, integer, (), {0: Int(node.attrs["blocksize"])})


@writes("Resize", integer=True)
def _resize(writer: RungWriter, node: Node, integer: bool) -> None:
    """By TFLite's own operators where they take the same places; else each axis by itself, as a sum of picked rows."""
    scales, name = node.attrs["scales"], node.inputs[0]
    matrices = {axis: _matrix(node, writer.shape(name)[axis], scale) for axis, scale in enumerate(scales) if scale != 1}
    own = _own(node, writer, matrices) if all(axis >= 2 for axis in matrices) else None
    if own is not None:
        size = writer.numbers(writer.placed(node.output, True)[1:3])
        moving(writer, node, own[0], True, integer, [size], own[1])
        return
    *_, final = matrices
    x, shape = writer.get(name, True), writer.placed(name, True)
    for axis, matrix in matrices.items():
        place = writer.axis(name, axis, True)
        shape[place] = len(matrix)
        x = _picked(writer, x, list(shape), place, matrix, writer.new(node.output, True) if axis == final else None)


def _matrix(node: Node, size: int, scale: float) -> NDArray[np.float64]:
    """What each element of the result is made of, (after, before)."""
    attrs = node.attrs
    places = coordinates(size, scale, attrs["coordinate_transformation_mode"])
    if attrs["mode"] == "nearest":
        return np.asarray(np.eye(size)[nearest(places, size, attrs["nearest_mode"])])
    return interpolation(places, size, attrs["mode"], attrs["cubic_coeff_a"])


def _own(node: Node, writer: RungWriter, matrices: dict[int, NDArray[np.float64]]) -> tuple[str, dict[int, Field]] | None:
    """TFLite's operator and its options, if it makes every element of the same."""
    attrs = node.attrs
    if attrs["mode"] == "nearest":
        # floor(x · before ÷ after), in 32 bits: for some factors that is one less.
        for matrix in matrices.values():
            after, before = matrix.shape
            ratio = np.float32(before) / np.float32(after)
            if not np.array_equal(matrix.argmax(1), np.floor(np.arange(after, dtype=np.float32) * ratio)):
                return None
        return "RESIZE_NEAREST_NEIGHBOR", {}
    places = attrs["coordinate_transformation_mode"]
    half, corners = places in ("half_pixel", "pytorch_half_pixel"), places == "align_corners"
    if attrs["mode"] != "linear" or not (half or corners or places == "asymmetric"):
        return None
    # It takes before ÷ after for the scale, ONNX what was asked for.
    exact = all(matrix.shape[1] * attrs["scales"][axis] == matrix.shape[0] for axis, matrix in matrices.items())
    if not (exact or corners) or any(1 in matrix.shape for matrix in matrices.values()):
        return None
    return "RESIZE_BILINEAR", {2: Byte(int(corners)), 3: Byte(int(half))}


def _picked(writer: RungWriter, x: int, shape: list[int], axis: int, matrix: NDArray[np.float64], given: int | None) -> int:
    """Multiply an axis by a matrix with few entries in each row: pick an element for each, weigh, add.

    Args:
        writer: of the rung.
        x: the tensor.
        shape: of the result.
        axis: where the elements lie.
        matrix: (after, before).
        given: tensor for the result; a new one if None.
    """
    count = int((matrix != 0).sum(1).max())
    order = np.argsort(-np.abs(matrix), 1, kind="stable")[:, :count]
    factors = np.take_along_axis(matrix, order, 1)
    along = [1] * len(shape)
    along[axis] = len(matrix)
    total: int | None = None
    for tap in range(count):
        last = tap == count - 1
        plain = bool((factors[:, tap] == 1).all())
        into = given if last and given is not None else None
        picked = writer.temporary(shape) if into is None or not plain or total is not None else into
        y = writer.operator("GATHER", [x, writer.numbers(order[:, tap].tolist())], picked, {0: Int(axis)})
        if not plain:
            weighed = writer.temporary(shape) if into is None or total is not None else into
            y = writer.operator("MUL", [y, writer.vector(factors[:, tap], along)], weighed)
        if total is not None:
            y = writer.operator("ADD", [total, y], writer.temporary(shape) if into is None else into)
        total = y
    assert total is not None
    return total
