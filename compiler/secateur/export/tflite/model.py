"""A TFLite file under construction: tensors, their constant data, operators in order. One graph, batch 1."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from secateur.export.program import BaseSlice, Piece, PrivateVector, Program, ScaledVector, Word
from secateur.export.tflite import schema
from secateur.export.tflite.flatbuffer import Byte, Data, Field, Int, Ints, Table, Tables, Text, render

_BUFFER_BOUNDARY = 16
"""Constant data are mapped and read by vector instructions."""


@dataclass(frozen=True)
class Quantization:
    """Scale and zero point of a tensor, or of each of its channels.

    Attributes:
        scales: one, or one for each channel.
        zero_points: likewise.
        axis: of the channels.
    """

    scales: Data
    zero_points: Data
    axis: int = 0


def floats(values: PrivateVector | ScaledVector) -> Data:
    """Return float32 values of a rung."""
    return Data([values], 4, 4)


def one_scale(scale: float, zero_point: int) -> Quantization:
    """Return the quantization of a tensor between layers."""
    return Quantization(
        floats(PrivateVector(np.asarray([scale], "<f4"))),
        Data([PrivateVector(np.asarray([zero_point], "<i8"))], 8, 8),
    )


class ModelWriter:
    """Collects tensors and operators, then gives the file."""

    def __init__(self) -> None:
        self._tensors: list[dict[int, Field]] = []
        self._operators: list[Table] = []
        self._buffers: list[Table] = [Table({})]  # the first must be empty
        self._codes: dict[tuple[int, int], int] = {}

    def tensor(self, shape: Sequence[int], kind: str, quantization: Quantization | None = None, name: str = "") -> int:
        """Add a tensor that is computed, or an input.

        Args:
            shape: with batch 1.
            kind: element type, numpy's name.
            quantization: if it is int8.
            name: shown to users; only inputs and outputs have one.

        Returns:
            Its number.
        """
        return self._add(shape, kind, quantization, 0, name)

    def constant(
        self, piece: BaseSlice | PrivateVector, shape: Sequence[int], kind: str, quantization: Quantization | None = None
    ) -> int:
        """Add a tensor of values that may differ between rungs; the arguments are those of `tensor`."""
        return self._constant(piece, shape, kind, quantization)

    def _constant(self, piece: Piece, shape: Sequence[int], kind: str, quantization: Quantization | None) -> int:
        self._buffers.append(Table({schema.BUFFER_DATA: Data([piece], 1, _BUFFER_BOUNDARY)}))
        return self._add(shape, kind, quantization, len(self._buffers) - 1, "")

    def fixed(self, values: NDArray[np.generic], quantization: Quantization | None = None) -> int:
        """Return a constant that is the same in every rung."""
        array = np.asarray(values)
        array = array.astype(array.dtype.newbyteorder("<"))
        return self._constant(array.tobytes(), array.shape, array.dtype.str, quantization)

    def private(self, values: NDArray[np.generic], shape: Sequence[int] | None = None) -> int:
        """Add a constant of this rung alone; ``shape`` is the array's unless given."""
        array = np.asarray(values)
        array = array.astype(array.dtype.newbyteorder("<"))
        return self.constant(PrivateVector(array.ravel()), array.shape if shape is None else shape, array.dtype.str)

    def channels(self, scales: PrivateVector, axis: int, factor: float) -> tuple[Quantization, Quantization]:
        """Return the quantization of a weight with a scale for each output channel, and of the bias to it, around 0.

        Args:
            scales: of the weight.
            axis: of the output channels in the weight.
            factor: scale of the layer's input.
        """
        # Runtimes want a zero point for each channel; weight and bias have the same.
        zeros = Data([PrivateVector(np.zeros(scales.values.shape, "<i8"))], 8, 8)
        bias = Quantization(floats(ScaledVector(scales, factor)), zeros)
        return Quantization(floats(scales), zeros, axis), bias

    def name(self, tensor: int, name: str) -> None:
        """Name a tensor."""
        self._tensors[tensor][schema.TENSOR_NAME] = Text(name)

    def operator(
        self,
        name: str,
        inputs: Sequence[int],
        output: int,
        options: Mapping[int, Field] | None = None,
        integer: bool = False,
    ) -> int:
        """Add an operator and return its output.

        Args:
            name: key of `schema.OPERATORS`.
            inputs: tensors; −1 for one that is left out.
            output: the tensor that it computes.
            options: fields of its options.
            integer: whether it computes on int8.
        """
        operator = schema.OPERATORS[name]
        version = operator.int8_version if integer else operator.float_version
        code = self._codes.setdefault((operator.code, version), len(self._codes))
        fields: dict[int, Field] = {
            schema.OPERATOR_INPUTS: Ints(list(inputs)),
            schema.OPERATOR_OUTPUTS: Ints([output]),
        }
        if code:
            fields[schema.OPERATOR_CODE] = Int(code)
        if operator.options:
            fields[schema.OPERATOR_OPTIONS_TYPE] = Byte(operator.options)
            fields[schema.OPERATOR_OPTIONS] = Table(dict(options or {}))
        self._operators.append(Table(fields))
        return output

    def program(self, inputs: Sequence[int], outputs: Sequence[int]) -> Program:
        """Finish the file.

        Args:
            inputs: tensors that are given.
            outputs: tensors that are asked for.
        """
        graph = Table(
            {
                schema.GRAPH_TENSORS: Tables([Table(fields) for fields in self._tensors]),
                schema.GRAPH_INPUTS: Ints(list(inputs)),
                schema.GRAPH_OUTPUTS: Ints(list(outputs)),
                schema.GRAPH_OPERATORS: Tables(self._operators),
            }
        )
        codes = [
            Table(
                {
                    schema.CODE_DEPRECATED: Byte(min(code, 127)),  # where builtin codes above 127 do not fit
                    schema.CODE_VERSION: Int(version),
                    schema.CODE_BUILTIN: Int(code),
                }
            )
            for code, version in self._codes
        ]
        root = Table(
            {
                schema.MODEL_VERSION: Int(schema.VERSION),
                schema.MODEL_OPERATOR_CODES: Tables(codes),
                schema.MODEL_SUBGRAPHS: Tables([graph]),
                schema.MODEL_DESCRIPTION: Text("secateur"),
                schema.MODEL_BUFFERS: Tables(self._buffers),
            }
        )
        return Program(render(root, schema.IDENTIFIER))

    def _add(self, shape: Sequence[int], kind: str, quantization: Quantization | None, buffer: int, name: str) -> int:
        # The batch is always 1; any other size may differ between rungs.
        fields: dict[int, Field] = {schema.TENSOR_SHAPE: Ints([Word(size) for size in shape])}
        if schema.TYPES[kind]:
            fields[schema.TENSOR_TYPE] = Byte(schema.TYPES[kind])
        if buffer:
            fields[schema.TENSOR_BUFFER] = Int(buffer)
        if name:
            fields[schema.TENSOR_NAME] = Text(name)
        if quantization is not None:
            found: dict[int, Field] = {
                schema.QUANTIZATION_SCALE: quantization.scales,
                schema.QUANTIZATION_ZERO_POINT: quantization.zero_points,
            }
            if quantization.axis:
                found[schema.QUANTIZATION_DIMENSION] = Int(quantization.axis)
            fields[schema.TENSOR_QUANTIZATION] = Table(found)
        self._tensors.append(fields)
        return len(self._tensors) - 1
