"""A rung as an ONNX file that computes in float32, whatever its weights are stored in.

The shared weight as it is (or widened from 16 bits), then its private scale and shift: ONNX Runtime folds all that into the
convolution when it builds a session, so that it costs nothing at run time. int8 weights have the private scale in theirs.
"""

from __future__ import annotations

from secateur.export.formats import Cut, file_writer
from secateur.export.onnx_weights import float_weight, integer_weight, is_matrix, shared_constant
from secateur.export.onnx_writer import OnnxWriter
from secateur.export.operators import channel_shape, write_layer, write_operator
from secateur.export.program import Program
from secateur.ir import Node, Precision


@file_writer("onnxruntime", "fp32", "fp16", "int8-weight-only")
def export_float(cut: Cut, precision: Precision) -> Program:
    """Write a rung.

    Args:
        cut: the rung; layers that have weight scales have int8 weights.
        precision: how other weights are stored.
    """
    network = cut.network
    writer = OnnxWriter(network)
    names = {name: name for name in network.inputs}
    affine = network.affines()
    for node in network.nodes:
        if node.output in names:
            continue
        inputs = [names[name] for name in node.inputs]
        output = node.output if node.output in network.outputs else ""
        if node.attrs.get("weight") in cut.weight_scales:
            end = affine[node.output]
            names[node.output] = names[end.output] = _integer_layer(writer, cut, node, end, inputs)
        elif "weight" in node.attrs:
            inputs.append(float_weight(writer, cut, node, precision))
            names[node.output] = write_layer(writer, network, node, inputs, output)
        elif node.op == "Affine":
            table, shape = network.tables[node.attrs["table"]], channel_shape(network, node)
            scaled = writer.node("Mul", [*inputs, writer.vector(table.scale.astype("<f4"), shape)])
            names[node.output] = writer.node("Add", [scaled, writer.vector(table.shift.astype("<f4"), shape)], output)
        else:
            inputs += [shared_constant(writer, cut, name, precision) for name in node.constants]
            names[node.output] = write_operator(writer, network, node, inputs, output)
    return writer.program(network.inputs, network.outputs)


def _integer_layer(writer: OnnxWriter, cut: Cut, node: Node, affine: Node, inputs: list[str]) -> str:
    network = cut.network
    output = affine.output if affine.output in network.outputs else ""
    weight, _ = integer_weight(writer, cut, node)
    bias = writer.vector(network.tables[affine.attrs["table"]].shift.astype("<f4"))
    if is_matrix(cut, node):
        return writer.node("Add", [write_layer(writer, network, node, [*inputs, weight]), bias], output)
    return write_layer(writer, network, node, [*inputs, weight, bias], output)
