"""A rung as a static int8 ONNX file in QDQ form: shared int8 weights written directly, never requantized.

Zero points are written although they are 0: without them ONNX Runtime puts a scalar where a vector must be.
Each quantized tensor is followed by QuantizeLinear and DequantizeLinear; ONNX Runtime fuses them into integer kernels.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from secateur.export.onnx_fp32 import Index, shared_constant
from secateur.export.onnx_writer import OnnxWriter
from secateur.export.operators import channel_shape, weight_axes, write_layer, write_operator
from secateur.export.program import BaseSlice, PrivateVector, Program, ScaledVector
from secateur.ir import ActivationParameters, Network, Node, QuantizedWeight, Table

_INT8, _INT32, _FLOAT = 3, 6, 1
_IN_FLOAT = {
    *("Softmax", "LogSoftmax", "LayerNormalization", "InstanceNormalization", "Gelu", "Erf", "Exp", "Log", "Sqrt", "Pow"),
    *("Reciprocal", "Div", "ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceL2", "GRU", "LSTM", "RNN"),
    *("Where", "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual"),
}
"""Operators without an integer kernel that need more than eight bits of what they read."""
_PASSING = ("ScalarAffine", "Add", "Sub", "Mul", "Reshape", "Transpose")
"""Operators that need no more bits than what reads them."""
_NEVER_ZERO = {"Reciprocal": 0, "Log": 0, "Pow": 0, "Div": 1}
"""Operators and which of their inputs must not be rounded to 0: that one stays float."""


def export_int8(
    network: Network,
    base: Mapping[str, QuantizedWeight],
    index: Index,
    activations: Mapping[str, ActivationParameters],
    weight_scales: Mapping[str, NDArray[np.float32]],
    full_shapes: Mapping[str, tuple[int, ...]],
) -> Program:
    """Write a rung.

    Args:
        network: the cut network with the rung's tables.
        base: weight → the full, sorted quantized tensor.
        index: weight → kept indices of each axis.
        activations: tensor → its quantization parameters in this rung.
        weight_scales: weight → the quantization scale of each kept output channel in this rung.
        full_shapes: weight → its shape in the base.
    """
    return _Int8Writer(network, base, index, activations, weight_scales, full_shapes).write()


class _Int8Writer:
    def __init__(
        self,
        network: Network,
        base: Mapping[str, QuantizedWeight],
        index: Index,
        activations: Mapping[str, ActivationParameters],
        weight_scales: Mapping[str, NDArray[np.float32]],
        full_shapes: Mapping[str, tuple[int, ...]],
    ) -> None:
        self._network = network
        self._base = base
        self._index = index
        self._full = full_shapes
        self._activations = activations
        self._weight_scales = weight_scales
        self._writer = OnnxWriter(network)
        self._readers = network.consumers()
        self._names: dict[str, str] = {}
        self._exact: dict[str, str] = {}
        self._parameters: dict[str, tuple[str, str]] = {}

    def write(self) -> Program:
        """Write the nodes; a node that was written together with the one before is passed over."""
        for name in self._network.inputs:
            self._names[name] = self._quantize(name, name)
        affine = {node.inputs[0]: node for node in self._network.nodes if node.op == "Affine"}
        done: set[str] = set()
        for node in self._network.nodes:
            if node.output in done:
                continue
            end = node
            if "weight" in node.attrs:
                end = affine[node.output]
                result = self._layer(node, end)
            elif node.op == "Affine":
                result = self._affine(node)
            else:
                inputs = [self._input(node, place, name) for place, name in enumerate(node.inputs)]
                inputs += [shared_constant(self._writer, name, self._index, self._full[name]) for name in node.constants]
                result = write_operator(self._writer, self._network, node, inputs, self._final(node.output))
            clipped = self._clipped_by_quantization(end)
            done |= {end.output, clipped}
            if clipped in self._network.outputs and self._final(clipped) != result:
                result = self._writer.node("Identity", [self._quantize(clipped, result)], clipped)
            if clipped == end.output:
                self._exact[clipped] = result
            plain = clipped in self._network.outputs or self._only_exact(clipped)
            plain = plain or ("weight" not in node.attrs and self._read_in_float(clipped))
            self._names[clipped] = result if plain else self._quantize(clipped, result)
        return self._writer.program(self._network.inputs, self._network.outputs)

    def _input(self, node: Node, place: int, name: str) -> str:
        exact = _NEVER_ZERO.get(node.op) == place
        return self._exact.get(name, self._names[name]) if exact else self._names[name]

    def _only_exact(self, tensor: str) -> bool:
        """Whether all that reads a tensor takes it as it was before quantization."""
        places = [
            _NEVER_ZERO.get(node.op) == place
            for node in self._readers.get(tensor, [])
            for place, name in enumerate(node.inputs)
            if name == tensor
        ]
        return tensor in self._exact and bool(places) and all(places)

    def _final(self, tensor: str) -> str:
        """The name to write a tensor under: its own if it is an output of the network that nothing else reads."""
        return tensor if tensor in self._network.outputs and not self._readers.get(tensor) else ""

    def _clipped_by_quantization(self, node: Node) -> str:
        """If only a Relu or a Clip from 0 reads the node's output, its output: the quantized range does what it does."""
        readers = self._readers.get(node.output, [])
        if len(readers) == 1 and node.output not in self._network.outputs and node.op in ("Affine", "Add"):
            reader = readers[0]
            if reader.output in self._network.outputs:
                return node.output
            if reader.op == "Relu" or (reader.op == "Clip" and reader.attrs.get("min") == 0):
                return reader.output
        return node.output

    def _read_in_float(self, tensor: str) -> bool:
        """Whether only operators that compute in float anyway read a tensor: scores with a mask, parts of a norm."""
        readers = self._readers.get(tensor, [])
        return bool(readers) and all(
            reader.op in _IN_FLOAT or (reader.op in _PASSING and self._read_in_float(reader.output)) for reader in readers
        )

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
        weight, writer = node.attrs["weight"], self._writer
        table = self._network.tables[affine.attrs["table"]]
        input_scale, scale = self._activations[node.inputs[0]].scale, self._weight_scales[weight]
        matrix = node.op == "Linear" and len(self._network.shapes[node.inputs[0]]) > 2
        axes = weight_axes(self._network, node)
        piece = BaseSlice(weight, self._index[weight], self._base[weight].values.shape, axes, 1)
        values = writer.initializer(piece, piece.shape, _INT8)
        scales = PrivateVector(scale)
        scale_name = writer.initializer(scales, scale.shape, _FLOAT)
        zeros = writer.vector(np.zeros(scale.shape, np.int8))
        dequantized = writer.node("DequantizeLinear", [values, scale_name, zeros], axis=1 if axes else 0)
        inputs = [self._names[node.inputs[0]], dequantized]
        final = self._final(affine.output)
        if matrix:
            product = write_layer(writer, self._network, node, inputs)
            return writer.node("Add", [product, writer.vector(table.shift.astype("<f4"))], final)
        inputs.append(self._bias(table, scales, input_scale))
        return write_layer(writer, self._network, node, inputs, final)

    def _bias(self, table: Table, weight_scale: PrivateVector, input_scale: float) -> str:
        factor = np.float32(input_scale)
        scale = (np.asarray(weight_scale.values, np.float32) * factor).astype("<f4")
        values = np.clip(np.rint(table.shift.astype(np.float64) / scale), -(2**31) + 1, 2**31 - 1).astype("<i4")
        writer = self._writer
        quantized = writer.initializer(PrivateVector(values), values.shape, _INT32)
        scales = writer.initializer(ScaledVector(weight_scale, float(factor)), scale.shape, _FLOAT)
        return writer.node("DequantizeLinear", [quantized, scales, writer.vector(np.zeros(values.shape, "<i4"))], axis=0)

    def _affine(self, node: Node) -> str:
        """A scale and shift that does not follow a weight: computed in float."""
        table, shape = self._network.tables[node.attrs["table"]], channel_shape(self._network, node)
        writer = self._writer
        scaled = writer.node("Mul", [self._names[node.inputs[0]], writer.vector(table.scale.astype("<f4"), shape)])
        return writer.node("Add", [scaled, writer.vector(table.shift.astype("<f4"), shape)], self._final(node.output))
