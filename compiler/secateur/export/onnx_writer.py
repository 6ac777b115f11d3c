"""Writes ONNX files (protobuf, onnx.proto3 of ONNX 1.13, IR version 9, opset 18) as pieces.

Canonical: no node names, no metadata, tensors named by number, so that nothing but sizes and values differs between rungs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper

from secateur.export.program import BaseSlice, Integer, Measured, Piece, PrivateVector, Program, ScaledVector
from secateur.ir import Network
from secateur_agent.bundle.streams import varint

IR_VERSION = 9
OPSET = 18
_ELEMENTS = {
    "float32": onnx.TensorProto.FLOAT,
    "int32": onnx.TensorProto.INT32,
    "int64": onnx.TensorProto.INT64,
    "bool": onnx.TensorProto.BOOL,
}
_TYPES = {"<f4": 1, "|u1": 2, "|i1": 3, "<i4": 6, "<i8": 7}

Data = BaseSlice | PrivateVector | ScaledVector


def _field(number: int, pieces: Sequence[Piece]) -> list[Piece]:
    """A length-delimited field; if its content is all literal, so is its length."""
    tag = bytes([number << 3 | 2])
    literal = b"".join(piece for piece in pieces if isinstance(piece, bytes))
    if all(isinstance(piece, bytes) for piece in pieces):
        return [tag + varint(len(literal)) + literal]
    return [tag, Measured(pieces)]


class OnnxWriter:
    """Collects nodes and initializers in order, then gives the file."""

    def __init__(self, network: Network) -> None:
        self._dtypes = {name: network.dtype(name) for name in (*network.inputs, *network.outputs)}
        self._taken = {*network.inputs, *network.outputs}
        self._nodes: list[Piece] = []
        self._initializers: list[Piece] = []
        self._count = 0

    def name(self) -> str:
        """Return a new tensor name."""
        self._count += 1
        name = f"n{self._count}"
        return name if name not in self._taken else self.name()

    def node(self, op: str, inputs: Sequence[str], output: str = "", group: int | None = None, **attrs: object) -> str:
        """Add a node and return its output. ``group`` is written apart because it differs between rungs."""
        return self._node(op, inputs, 0, output, group, attrs)

    def nth_output(self, number: int, op: str, inputs: Sequence[str], **attrs: object) -> str:
        """Add a node of which only output ``number`` is used, and return that."""
        return self._node(op, inputs, number, "", None, attrs)

    def _node(
        self, op: str, inputs: Sequence[str], number: int, output: str, group: int | None, attrs: Mapping[str, object]
    ) -> str:
        output = output or self.name()
        proto = helper.make_node(op, inputs, [""] * number + [output], **attrs)
        content: list[Piece] = [proto.SerializeToString(deterministic=True)]
        if group is not None:
            attribute: list[Piece] = [b"\x0a\x05group\xa0\x01\x02\x18", Integer(group)]
            content += _field(5, attribute)
        self._nodes += _field(1, content)
        return output

    def initializer(self, data: Data, shape: Sequence[int], code: int) -> str:
        """Add an initializer with ``data`` as raw bytes and return its name; ``code`` is ONNX's element type."""
        name = self.name()
        content: list[Piece] = []
        for size in shape:
            content += [b"\x08", Integer(size)]
        content += [bytes([0x10, code]), *_field(8, [name.encode()]), *_field(9, [data])]
        self._initializers += _field(5, content)
        return name

    def vector(self, values: NDArray[Any] | np.generic, shape: Sequence[int] | None = None) -> str:
        """Add private values as an initializer; ``shape`` is theirs unless given."""
        array = np.asarray(values)
        array = array.astype(array.dtype.newbyteorder("<"))
        chosen = array.shape if shape is None else shape
        return self.initializer(PrivateVector(array.ravel()), chosen, _TYPES[array.dtype.str])

    def program(self, inputs: dict[str, tuple[int, ...]], outputs: dict[str, tuple[int, ...]]) -> Program:
        """Finish the file.

        Args:
            inputs: name → shape, −1 for the batch.
            outputs: likewise.
        """
        graph: list[Piece] = [*self._nodes, *_field(2, [b"rung"]), *self._initializers]
        for number, values in ((11, inputs), (12, outputs)):
            for name, shape in values.items():
                dims = ["batch", *shape[1:]]
                info = helper.make_tensor_value_info(name, _ELEMENTS[self._dtypes[name]], dims)
                graph += _field(number, [info.SerializeToString(deterministic=True)])
        opset = helper.make_opsetid("", OPSET).SerializeToString(deterministic=True)
        return Program([bytes([0x08, IR_VERSION]), *_field(2, [b"secateur"]), *_field(7, graph), *_field(8, [opset])])
