"""A rung as a TFLite file."""

from __future__ import annotations

from secateur.export.formats import Cut, file_writer
from secateur.export.program import Program
from secateur.export.tflite.layers import write_layer
from secateur.export.tflite.operators import WRITTEN
from secateur.export.tflite.rung import RungWriter, Unwritable
from secateur.ir import Precision


@file_writer("tflite", "fp32", "fp16", "int8", "int8-weight-only")
def export_tflite(cut: Cut, precision: Precision) -> Program:
    """Write a rung.

    Args:
        cut: the rung.
        precision: of the file.

    Raises:
        Unwritable: if TFLite has no operator for one of the network's.
    """
    writer, network = RungWriter(cut, precision), cut.network
    affine = network.affines()
    inputs = [writer.input(name) for name in network.inputs]
    done: set[str] = set()
    for node in network.nodes:
        if node.output in done:
            continue
        if "weight" in node.attrs:
            end = affine[node.output]
            done |= {end.output, write_layer(writer, node, end)}
        elif node.op in WRITTEN:
            written = WRITTEN[node.op]
            given = written.write(writer, node, written.integer and writer.eight_bits(node))
            done |= {node.output, given or node.output}
        else:
            raise Unwritable(node, "cannot be written")
    return writer.model.program(inputs, [writer.output(name) for name in network.outputs])
