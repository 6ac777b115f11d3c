"""The operators that all exporters write in the same way: one file per family of those without shared weights.

A file registers itself.
"""

from __future__ import annotations

import numpy as np

from secateur.export.onnx_writer import OnnxWriter
from secateur.export.operators.registry import WRITERS, writes
from secateur.ir import Network, Node
from secateur.ir.discovery import import_modules

import_modules(__name__, __path__)

__all__ = ["WRITERS", "channel_shape", "conv_attributes", "weight_axes", "write_layer", "write_operator", "writes"]


def write_operator(writer: OnnxWriter, network: Network, node: Node, inputs: list[str], output: str = "") -> str:
    """Write one node that has neither weight nor table and return its output."""
    return WRITERS[node.op](writer, network, node, inputs, output)


def channel_shape(network: Network, node: Node) -> list[int]:
    """Return the shape in which a per-channel vector broadcasts over the output of an ``Affine`` node."""
    shape = network.shapes[node.output]
    return [shape[node.attrs["axis"]]] + [1] * (len(shape) - 1 - node.attrs["axis"])


def conv_attributes(node: Node) -> dict[str, list[int]]:
    """Return the attributes of a convolution that do not differ between rungs."""
    keys = ("strides", "pads", "dilations", "output_padding")
    return {key: list(node.attrs[key]) for key in keys if key in node.attrs}


def weight_axes(network: Network, node: Node) -> tuple[int, ...]:
    """Return how the axes of a shared weight, (out, in / groups, kernel…), change places in the file; empty if they stay."""
    rank = len(network.shapes[node.inputs[0]])
    if node.op == "Linear":
        return (1, 0) if rank > 2 else ()
    if node.op == "ConvTranspose" and node.attrs["groups"] == 1:
        return (1, 0, *range(2, rank))
    return ()


def write_layer(writer: OnnxWriter, network: Network, node: Node, inputs: list[str], output: str = "") -> str:
    """Write a layer with a weight and return its output.

    Args:
        writer: of the file.
        network: the rung.
        node: Conv, ConvTranspose or Linear.
        inputs: names of its input, its weight (axes as `weight_axes` says) and perhaps its bias.
        output: name to give its output; empty for any.
    """
    if node.op == "Linear":
        matrix = len(network.shapes[node.inputs[0]]) > 2
        return writer.node("MatMul", inputs, output) if matrix else writer.node("Gemm", inputs, output, transB=1)
    groups = node.attrs["groups"]
    if node.op == "ConvTranspose" and groups > 1 and network.shapes[node.output][1] != groups:
        # Depthwise with several outputs for each input: ONNX has (in, out / groups, kernel…); the values lie in that order.
        shape = np.asarray([groups, -1, *network.weights[node.attrs["weight"]].shape[2:]], np.int64)
        inputs = [inputs[0], writer.node("Reshape", [inputs[1], writer.vector(shape)]), *inputs[2:]]
    return writer.node(node.op, inputs, output, group=groups, **conv_attributes(node))
