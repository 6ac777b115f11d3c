"""Operators that name, copy or cast: nothing of them remains at run time."""

from __future__ import annotations

import numpy as np

from secateur.load.builder import Converting
from secateur.load.converters.registry import converter


@converter("Constant")
def _constant(node: Converting) -> None:
    from onnx import numpy_helper

    if "value" in node.attrs:
        node.fold(numpy_helper.to_array(node.attrs["value"]))
    else:
        node.fold(np.asarray(next(iter(node.attrs.values()))))


@converter("Identity", "Dropout", "Cast")
def _identity(node: Converting) -> None:
    if node.op == "Cast" and node.attrs.get("to") != 1:
        raise node.fail("only float32 tensors are supported")
    node.alias(node.inputs[0])


@converter("CastLike")
def _cast_like(node: Converting) -> None:
    value = node.constant(0)
    if value is None:
        node.alias(node.inputs[0])
    else:
        node.fold(value.astype(np.float32))


@converter("Shape")
def _shape(node: Converting) -> None:
    node.fold(np.asarray(node.shape()[node.attrs.get("start", 0) : node.attrs.get("end")], np.int64))
