"""The registry of how operators without shared weights are written."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from secateur.ir import Network, Node
from secateur.ir.registration import Registry

if TYPE_CHECKING:
    from secateur.export.onnx_writer import OnnxWriter

Write = Callable[["OnnxWriter", Network, Node, list[str], str], str]
"""From writer, network, node, names of its inputs, and the name to give its output ('' for any) to the output's name."""
WRITERS: Registry[Write] = Registry("writer of")


def writes(*names: str) -> Callable[[Write], Write]:
    """Register a function as the way in which both exporters write these operators."""

    def register(function: Write) -> Write:
        WRITERS.register(names, function)
        return function

    return register
