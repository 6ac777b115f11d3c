"""The registry of how TFLite files have operators without shared weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from secateur.export.tflite.rung import RungWriter
from secateur.ir import Node
from secateur.ir.registration import Registry

Write = Callable[[RungWriter, Node, bool], "str | None"]
"""From writer, node and whether it computes on int8 to the tensor that it gives; None if that is the node's output."""


@dataclass(frozen=True)
class Written:
    """How an operator is written; ``integer`` if it has a kernel for int8."""

    write: Write
    integer: bool


WRITTEN: Registry[Written] = Registry("TFLite writer of")


def writes(*names: str, integer: bool = False) -> Callable[[Write], Write]:
    """Register a function as how these operators are written.

    Args:
        names: of the normal form.
        integer: whether TFLite has kernels for int8; else they compute on floats in int8 files, too.
    """

    def register(function: Write) -> Write:
        WRITTEN.register(names, Written(function, integer))
        return function

    return register
