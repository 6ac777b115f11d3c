"""What a converter of an ONNX node sees: its inputs as tensors or views, constants, and ways to emit nodes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray

from secateur.ir import Node, Table, UnsupportedModelError
from secateur.load.views import Arranged, View

if TYPE_CHECKING:
    from secateur.load.builder import Builder

BATCH = 7919
"""Stands for the batch while shapes are computed: a prime that no model has as a size by chance."""

Constant = NDArray[Any]


class Converting:
    """What a converter gets to see of one ONNX node."""

    def __init__(self, builder: Builder, node: onnx.NodeProto, label: str) -> None:
        self._builder = builder
        self.label = label
        self.op = node.op_type
        self.name = node.name or node.output[0]
        # The old exporter calls a weight that it made itself onnx::Conv_7: the node's name tells a person more.
        layer = self.op in ("Conv", "ConvTranspose", "Gemm", "MatMul")
        if layer and len(node.input) > 1 and not node.input[1].startswith("onnx::"):
            self.name = builder.moved.get(node.input[1], node.input[1]).removesuffix(".weight")
        self.given = list(node.input)
        self.outputs = list(node.output)
        self.output = node.output[0]
        self.opset = builder.opset
        self.attrs = {attribute.name: onnx.helper.get_attribute_value(attribute) for attribute in node.attribute}

    @property
    def one_sample(self) -> bool:
        """Whether the file takes a batch of exactly one."""
        return self._builder.one_sample

    @property
    def inputs(self) -> list[str]:
        """The inputs as tensors whose first axis is the batch; constants by their names.

        Raises:
            UnsupportedModelError: if the batch is not the first axis of one of them.
        """
        return [name if name in self._builder.constants or not name else self._builder.tensor(name) for name in self.given]

    def used(self, index: int) -> bool:
        """Whether output ``index`` is given and something reads it."""
        return index < len(self.outputs) and self.outputs[index] in self._builder.read

    def constant(self, index: int) -> Constant | None:
        """Return input ``index`` if it is there and constant, else None."""
        return self._builder.constants.get(self.given[index]) if self.has(index) else None

    def has(self, index: int) -> bool:
        """Whether input ``index`` is given."""
        return index < len(self.given) and self.given[index] != ""

    def shape(self, index: int = 0) -> tuple[int, ...]:
        """Return the shape of input ``index``; the batch is `BATCH`."""
        constant = self.constant(index)
        return tuple(constant.shape) if constant is not None else self._builder.view(self.given[index]).shape

    def dtype(self, index: int = 0) -> torch.dtype:
        """Return the element type of a computed input."""
        return self._builder.dtypes[self._builder.view(self.given[index]).source]

    def fail(self, reason: str) -> UnsupportedModelError:
        """Return the error that names this node."""
        return UnsupportedModelError(f"{self.label}: {reason}")

    def emit(self, op: str, inputs: list[str] | None = None, output: str = "", /, **attrs: Any) -> str:
        """Add a node of the normal form and return its output tensor."""
        chosen = self.inputs[:1] if inputs is None else inputs
        return self._builder.add(Node(op, tuple(chosen), output or self.output, attrs, self.name), self.label)

    def view(self, index: int = 0) -> View:
        """Return a computed input as a view."""
        return self._builder.view(self.given[index])

    def view_of(self, name: str) -> View:
        """Return an ONNX tensor that this converter made as a view."""
        return self._builder.view(name)

    def put_view(self, view: View, output: str = "") -> None:
        """The output (the first, unless another is named) is this view."""
        self._builder.views[output or self.output] = view

    def arranged(self, index: int = 0) -> Arranged:
        """Return a computed input with the batch in front, whatever its view."""
        return self._builder.arranged(self.view(index))

    def arranged_view(self, view: View) -> Arranged:
        """Return a view with the batch in front."""
        return self._builder.arranged(view)

    def put_back(self, like: Arranged, tensor: str, output: str = "") -> None:
        """The output is ``tensor``, arranged as the ONNX tensor of ``like`` is."""
        if like.is_plain and tensor == (output or self.output):
            return
        shape = [BATCH, *self._builder.shapes[tensor][1:]]
        self.put_view(like.view_of(tensor, shape, (self.name, self.label)), output)

    def tensor_shape(self, tensor: str) -> tuple[int, ...]:
        """Return the shape of a tensor of the network, −1 for the batch."""
        return self._builder.shapes[tensor]

    def fresh(self, like: Arranged, output: str = "") -> str:
        """Return a name for a tensor that `put_back` arranges like ``like``."""
        return (output or self.output) + ("" if like.is_plain else ":batch-first")

    def emit_like(self, op: str, like: Arranged, more: Sequence[str] = (), /, **attrs: Any) -> None:
        """Add a node whose output is arranged as its first input is."""
        self.put_back(like, self.emit(op, [like.tensor, *more], self.fresh(like), **attrs))

    def tensor(self, index: int, like: Arranged | None = None) -> str:
        """Return an input with the batch in front; a constant is repeated for each sample of ``like``."""
        value = self.constant(index)
        if value is None:
            return self.arranged(index).tensor
        assert like is not None
        sizes = value.shape[1:] if value.ndim == len(like.axes) else value.shape
        constant = self.weight(value[:1].reshape(1, *sizes))
        return self.emit("PerSample", [like.tensor], f"{self.output}:constant{index}", constants=(constant,))

    @property
    def origin(self) -> tuple[str, str]:
        """What a view notes of this node."""
        return self.name, self.label

    def sequence(self, names: list[str]) -> None:
        """The node's output is a sequence of these tensors, which the converter made."""
        self._builder.sequences[self.output] = names

    def member(self, index: int) -> View:
        """Return a tensor of the sequence that is the node's first input."""
        return self._builder.view(self._builder.sequences[self.given[0]][index])

    def fold(self, value: Constant, output: str = "") -> None:
        """The node's output is this constant."""
        self._builder.constants[output or self.output] = np.asarray(value)

    def weight(self, value: Constant) -> str:
        """Add a shared weight and return its name."""
        name = f"w{len(self._builder.weights)}"
        # Minus infinity, as masks have it, becomes a number that no score reaches: sums and products stay finite.
        self._builder.weights[name] = np.ascontiguousarray(np.nan_to_num(value, posinf=1e9, neginf=-1e9), np.float32)
        return name

    def table(self, scale: Constant, shift: Constant) -> str:
        """Add a private table and return its name."""
        name = f"t{len(self._builder.tables)}"
        scale, shift = np.broadcast_arrays(np.asarray(scale, np.float32), np.asarray(shift, np.float32))
        self._builder.tables[name] = Table(scale.copy(), shift.copy())
        return name
