"""A rung as a float32 ONNX file: the shared weight as it is, then its private scale and shift.

ONNX Runtime folds both into the convolution when it builds a session, so that they cost nothing at run time.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from secateur.export.onnx_writer import OnnxWriter
from secateur.export.operators import channel_shape, weight_axes, write_layer, write_operator
from secateur.export.program import BaseSlice, Program
from secateur.ir import Network
from secateur.ir.network import Array

Index = dict[str, tuple[NDArray[np.int64], ...]]


def shared_constant(writer: OnnxWriter, name: str, index: Index, full: tuple[int, ...]) -> str:
    """Write a shared float32 tensor that is never quantized; return its name in the file."""
    piece = BaseSlice(name, index[name], full, (), 4)
    return writer.initializer(piece, piece.shape, 1)


def export_fp32(network: Network, base: dict[str, Array], index: Index) -> Program:
    """Write a rung.

    Args:
        network: the cut network with the rung's tables.
        base: weight → the full, sorted float32 tensor.
        index: weight → kept indices of each axis.
    """
    writer = OnnxWriter(network)
    names = {name: name for name in network.inputs}
    for node in network.nodes:
        inputs = [names[name] for name in node.inputs]
        output = node.output if node.output in network.outputs else ""
        if "weight" in node.attrs:
            weight = node.attrs["weight"]
            piece = BaseSlice(weight, index[weight], base[weight].shape, weight_axes(network, node), 4)
            inputs.append(writer.initializer(piece, piece.shape, 1))
            names[node.output] = write_layer(writer, network, node, inputs, output)
        elif node.op == "Affine":
            table, shape = network.tables[node.attrs["table"]], channel_shape(network, node)
            scaled = writer.node("Mul", [*inputs, writer.vector(table.scale.astype("<f4"), shape)])
            names[node.output] = writer.node("Add", [scaled, writer.vector(table.shift.astype("<f4"), shape)], output)
        else:
            inputs += [shared_constant(writer, name, index, base[name].shape) for name in node.constants]
            names[node.output] = write_operator(writer, network, node, inputs, output)
    return writer.program(network.inputs, network.outputs)
