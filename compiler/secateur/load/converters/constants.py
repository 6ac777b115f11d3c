"""Operators that name, copy or cast: nothing of most of them remains at run time."""

from __future__ import annotations

import numpy as np
import torch

from secateur.load.builder import Converting
from secateur.load.converters.registry import converter

_FLOAT, _INTEGERS, _BOOL = 1, (6, 7), 9


@converter("Constant")
def _constant(node: Converting) -> None:
    from onnx import numpy_helper

    if "value" in node.attrs:
        node.fold(numpy_helper.to_array(node.attrs["value"]))
    else:
        node.fold(np.asarray(next(iter(node.attrs.values()))))


@converter("Identity", "Dropout")
def _identity(node: Converting) -> None:
    node.put_view(node.view())


@converter("Cast")
def _cast(node: Converting) -> None:
    to, kind = node.attrs.get("to"), node.dtype()
    same = (to == _FLOAT and kind == torch.float32) or (to in _INTEGERS and kind in (torch.int32, torch.int64))
    if same or (to == _BOOL and kind == torch.bool):
        node.put_view(node.view())
    elif to == _FLOAT:
        node.emit_like("Cast", node.arranged())
    else:
        raise node.fail("only casts of integers and truth values to float32, and between integers, are supported")


@converter("CastLike")
def _cast_like(node: Converting) -> None:
    value = node.constant(0)
    if value is None:
        if node.constant(1) is None and node.dtype(0) != node.dtype(1):
            raise node.fail("a cast to the type of another tensor is not supported here")
        node.put_view(node.view())
    else:
        like = node.constant(1)
        node.fold(value.astype(np.float32 if like is None else like.dtype))


@converter("Shape")
def _shape(node: Converting) -> None:
    node.fold(np.asarray(node.shape()[node.attrs.get("start", 0) : node.attrs.get("end")], np.int64))
