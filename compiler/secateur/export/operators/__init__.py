"""The operators without shared weights, which all exporters write in the same way: one file per family.

A file registers itself.
"""

from __future__ import annotations

from secateur.export.onnx_writer import OnnxWriter
from secateur.export.operators.registry import WRITERS, writes
from secateur.ir import Network, Node
from secateur.ir.discovery import import_modules

import_modules(__name__, __path__)

__all__ = ["WRITERS", "channel_shape", "conv_attributes", "write_operator", "writes"]


def write_operator(writer: OnnxWriter, network: Network, node: Node, inputs: list[str], output: str = "") -> str:
    """Write one node that has neither weight nor table and return its output."""
    return WRITERS[node.op](writer, network, node, inputs, output)


def channel_shape(network: Network, node: Node) -> list[int]:
    """Return the shape in which a per-channel vector broadcasts over the output of an ``Affine`` node."""
    shape = network.shapes[node.output]
    return [shape[node.attrs["axis"]]] + [1] * (len(shape) - 1 - node.attrs["axis"])


def conv_attributes(node: Node) -> dict[str, list[int]]:
    """Return the attributes of a convolution that do not differ between rungs."""
    return {key: list(node.attrs[key]) for key in ("strides", "pads", "dilations")}
