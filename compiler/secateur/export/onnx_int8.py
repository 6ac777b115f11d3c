"""A rung as a static int8 ONNX file in QDQ form: shared int8 weights written directly, never requantized.

Each quantized tensor is followed by QuantizeLinear and DequantizeLinear; ONNX Runtime fuses them into integer kernels.
"""

from __future__ import annotations

import numpy as np

from secateur.export.formats import Cut, file_writer
from secateur.export.integer_bias import integer_bias
from secateur.export.onnx_weights import float_weight, integer_weight, is_matrix, shared_constant
from secateur.export.onnx_writer import OnnxWriter
from secateur.export.operators import channel_shape, write_layer, write_operator
from secateur.export.program import PrivateVector, Program, ScaledVector
from secateur.ir import Node, Precision, Table
from secateur.ir.placement import Placement

_INT32, _FLOAT = 6, 1


@file_writer("onnxruntime", "int8", "int8-symmetric")
def export_int8(cut: Cut, precision: Precision) -> Program:
    """Write a rung.

    Args:
        cut: the rung, with parameters of activations; layers without weight scales stay float, and what only they read.
        precision: whether zero is always 0.
    """
    return _Int8Writer(cut, precision).write()


class _Int8Writer:
    def __init__(self, cut: Cut, precision: Precision) -> None:
        self._cut = cut
        self._precision = precision
        self._network = cut.network
        self._activations = cut.activations
        self._writer = OnnxWriter(cut.network)
        self._readers = cut.network.consumers()
        self._place = Placement(cut.network, set(cut.weight_scales), precision.symmetric)
        self._names: dict[str, str] = {}
        self._exact: dict[str, str] = {}
        self._parameters: dict[str, tuple[str, str]] = {}

    def write(self) -> Program:
        """Write the nodes; a node that was written together with the one before is passed over."""
        place = self._place
        for name in self._network.inputs:
            self._exact[name] = name
            self._names[name] = name if place.only_exact(name) else self._quantize(name, name)
        done: set[str] = set()
        for node in self._network.nodes:
            if node.output in done:
                continue
            end = place.end(node)
            if "weight" in node.attrs:
                result = self._layer(node, end) if place.integer(node) else self._float_layer(node, end)
            elif node.op == "Affine":
                result = self._affine(node)
            else:
                inputs = [self._input(node, number, name) for number, name in enumerate(node.inputs)]
                inputs += [shared_constant(self._writer, self._cut, name, self._precision) for name in node.constants]
                result = write_operator(self._writer, self._network, node, inputs, self._final(node.output))
            clipped = place.clipped(end)
            done |= {end.output, clipped}
            if clipped in self._network.outputs and self._final(clipped) != result:
                result = self._writer.node("Identity", [self._quantize(clipped, result)], clipped)
            if clipped == end.output:
                self._exact[clipped] = result
            self._names[clipped] = result if place.stays_float(node, clipped) else self._quantize(clipped, result)
        return self._writer.program(self._network.inputs, self._network.outputs)

    def _input(self, node: Node, place: int, name: str) -> str:
        exact = self._place.wants_exact(node, place)
        return self._exact.get(name, self._names[name]) if exact else self._names[name]

    def _final(self, tensor: str) -> str:
        """The name to write a tensor under: its own if it is an output of the network that nothing else reads."""
        return tensor if tensor in self._network.outputs and not self._readers.get(tensor) else ""

    def _quantize(self, tensor: str, name: str) -> str:
        if tensor not in self._activations:  # integers and truth values
            return name
        scale, zero = self._parameters_of(tensor)
        return self._writer.node("DequantizeLinear", [self._writer.node("QuantizeLinear", [name, scale, zero]), scale, zero])

    def _parameters_of(self, tensor: str) -> tuple[str, str]:
        if tensor not in self._parameters:
            found = self._activations[tensor]
            self._parameters[tensor] = (
                self._writer.vector(np.float32(found.scale)),
                self._writer.vector(np.int8(found.zero_point)),
            )
        return self._parameters[tensor]

    def _layer(self, node: Node, affine: Node) -> str:
        """A convolution or fully connected layer with the scale and shift behind it."""
        writer, final = self._writer, self._final(affine.output)
        table = self._network.tables[affine.attrs["table"]]
        weight, scales = integer_weight(writer, self._cut, node)
        inputs = [self._names[node.inputs[0]], weight]
        shift = table.shift.astype("<f4")
        if is_matrix(self._cut, node):
            return writer.node("Add", [write_layer(writer, self._network, node, inputs), writer.vector(shift)], final)
        # TensorRT takes a bias in float alone.
        symmetric = self._precision.symmetric
        inputs.append(writer.vector(shift) if symmetric else self._bias(table, scales, self._scale_of(node.inputs[0])))
        return write_layer(writer, self._network, node, inputs, final)

    def _scale_of(self, tensor: str) -> float:
        return self._activations[tensor].scale

    def _float_layer(self, node: Node, affine: Node) -> str:
        """A layer that costs more accuracy in int8 than time in float."""
        writer, table = self._writer, self._network.tables[affine.attrs["table"]]
        weight = float_weight(writer, self._cut, node, self._precision)
        result = write_layer(writer, self._network, node, [self._input(node, 0, node.inputs[0]), weight])
        shape = channel_shape(self._network, affine)
        scaled = writer.node("Mul", [result, writer.vector(table.scale.astype("<f4"), shape)])
        return writer.node("Add", [scaled, writer.vector(table.shift.astype("<f4"), shape)], self._final(affine.output))

    def _bias(self, table: Table, weight_scale: PrivateVector, input_scale: float) -> str:
        values = integer_bias(table, weight_scale, input_scale)
        writer = self._writer
        quantized = writer.initializer(PrivateVector(values), values.shape, _INT32)
        scales = writer.initializer(ScaledVector(weight_scale, float(np.float32(input_scale))), values.shape, _FLOAT)
        return writer.node("DequantizeLinear", [quantized, scales, writer.vector(np.zeros(values.shape, "<i4"))], axis=0)

    def _affine(self, node: Node) -> str:
        """A scale and shift that does not follow a weight: computed in float."""
        table, shape = self._network.tables[node.attrs["table"]], channel_shape(self._network, node)
        writer = self._writer
        scaled = writer.node("Mul", [self._names[node.inputs[0]], writer.vector(table.scale.astype("<f4"), shape)])
        return writer.node("Add", [scaled, writer.vector(table.shift.astype("<f4"), shape)], self._final(node.output))
