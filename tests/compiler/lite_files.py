"""TFLite files as the code that TensorFlow's makers generate from their schema reads them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as generated
from numpy.typing import NDArray

_OPERATORS = {value: name for name, value in vars(generated.BuiltinOperator).items() if not name.startswith("_")}
_KINDS = {generated.TensorType.INT8: "|i1", generated.TensorType.FLOAT32: "<f4", generated.TensorType.INT32: "<i4"}


@dataclass
class ReadTensor:
    """A tensor of the file; ``values`` if it is a constant."""

    shape: tuple[int, ...]
    kind: int
    scales: list[float]
    zero_points: list[int]
    axis: int
    values: NDArray[Any] | None


@dataclass
class ReadFile:
    """A file: its tensors, and of each operator the name and the tensors that it reads and gives."""

    tensors: list[ReadTensor] = field(default_factory=list)
    operators: list[tuple[str, list[int], list[int]]] = field(default_factory=list)

    def names(self) -> list[str]:
        """The operators, in order."""
        return [name for name, _, _ in self.operators]


def read(data: bytes) -> ReadFile:
    """Read a file."""
    model = generated.ModelT.InitFromObj(generated.Model.GetRootAs(data, 0))
    (graph,) = model.subgraphs
    found = ReadFile()
    for tensor in graph.tensors:
        raw, kind = model.buffers[tensor.buffer].data, _KINDS.get(tensor.type)
        shape = tuple(int(size) for size in (tensor.shape if tensor.shape is not None else []))
        values = None
        if raw is not None and kind is not None:
            values = np.frombuffer(np.asarray(raw, np.uint8).tobytes(), kind).reshape(shape)
        quantization = tensor.quantization
        scales = [] if quantization is None or quantization.scale is None else [float(v) for v in quantization.scale]
        zeros = [] if quantization is None or quantization.zeroPoint is None else [int(v) for v in quantization.zeroPoint]
        axis = 0 if quantization is None else quantization.quantizedDimension
        found.tensors.append(ReadTensor(shape, tensor.type, scales, zeros, axis, values))
    for operator in graph.operators:
        code = model.operatorCodes[operator.opcodeIndex]
        name = _OPERATORS[max(code.builtinCode, code.deprecatedBuiltinCode)]
        found.operators.append((name, [int(i) for i in operator.inputs], [int(i) for i in operator.outputs]))
    return found
