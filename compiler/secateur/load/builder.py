"""Collects the nodes of a network while an ONNX graph is converted, and folds what depends on constants alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import numpy_helper

from secateur.ir import Network, Node, Table, UnsupportedModelError
from secateur.twin import fixed_values
from secateur.twin.execute import apply

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
        if (
            self.op in ("Conv", "ConvTranspose", "Gemm", "MatMul")
            and len(node.input) > 1
            and not node.input[1].startswith("onnx::")
        ):
            self.name = node.input[1].removesuffix(".weight")
        self.inputs = [builder.resolve(name) for name in node.input]
        self.output = node.output[0]
        self.outputs = list(node.output)
        self.opset = builder.opset
        self.attrs = {attribute.name: onnx.helper.get_attribute_value(attribute) for attribute in node.attribute}

    def constant(self, index: int) -> Constant | None:
        """Return input ``index`` if it is there and constant, else None."""
        return self._builder.constants.get(self.inputs[index]) if self.has(index) else None

    def has(self, index: int) -> bool:
        """Whether input ``index`` is given."""
        return index < len(self.inputs) and self.inputs[index] != ""

    def shape(self, index: int = 0) -> tuple[int, ...]:
        """Return the shape of input ``index``; the batch is `BATCH`."""
        constant = self.constant(index)
        if constant is not None:
            return tuple(constant.shape)
        return tuple(BATCH if size == -1 else size for size in self._builder.shapes[self.inputs[index]])

    def fail(self, reason: str) -> UnsupportedModelError:
        """Return the error that names this node."""
        return UnsupportedModelError(f"{self.label}: {reason}")

    def emit(self, op: str, inputs: list[str] | None = None, output: str = "", /, **attrs: Any) -> str:
        """Add a node of the normal form and return its output tensor."""
        chosen = self.inputs[:1] if inputs is None else inputs
        return self._builder.add(Node(op, tuple(chosen), output or self.output, attrs, self.name), self.label)

    def alias(self, name: str, output: str = "") -> None:
        """The node's output (the first, unless another is named) is the tensor ``name``."""
        self._builder.aliases[output or self.output] = name

    def sequence(self, names: list[str]) -> None:
        """The node's output is a sequence of these tensors."""
        self._builder.sequences[self.output] = names

    def member(self, index: int) -> str:
        """Return a tensor of the sequence that is the node's first input."""
        return self._builder.sequences[self.inputs[0]][index]

    def fold(self, value: Constant) -> None:
        """The node's output is this constant."""
        self._builder.constants[self.output] = np.asarray(value)

    def weight(self, value: Constant) -> str:
        """Add a shared weight and return its name."""
        name = f"w{len(self._builder.weights)}"
        self._builder.weights[name] = np.ascontiguousarray(value, np.float32)
        return name

    def table(self, scale: Constant, shift: Constant) -> str:
        """Add a private table and return its name."""
        name = f"t{len(self._builder.tables)}"
        scale, shift = np.broadcast_arrays(np.asarray(scale, np.float32), np.asarray(shift, np.float32))
        self._builder.tables[name] = Table(scale.copy(), shift.copy())
        return name


class Builder:
    """A network under construction. ``shapes`` has −1 for the batch."""

    def __init__(self, constants: dict[str, Constant], opset: int) -> None:
        self.constants = constants
        self.opset = opset
        self.inputs: dict[str, tuple[int, ...]] = {}
        self.nodes: list[Node] = []
        self.weights: dict[str, Any] = {}
        self.tables: dict[str, Table] = {}
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.aliases: dict[str, str] = {}
        self.sequences: dict[str, list[str]] = {}

    def add_input(self, name: str, shape: tuple[int, ...]) -> None:
        """Declare an input of the network."""
        self.inputs[name] = self.shapes[name] = shape

    def resolve(self, name: str) -> str:
        """Return the tensor that ``name`` stands for."""
        while name in self.aliases:
            name = self.aliases[name]
        return name

    def add(self, node: Node, label: str) -> str:
        """Add a node; its shape follows from running it on tensors without values."""
        feeds = [torch.empty([BATCH if size == -1 else size for size in self.shapes[n]], device="meta") for n in node.inputs]
        names = node.weights
        tables = [node.attrs["table"]] if "table" in node.attrs else []
        scope = Network({}, {}, [], {n: self.weights[n] for n in names}, {t: self.tables[t] for t in tables}, {})
        try:
            shape = tuple(apply(node, feeds, fixed_values(scope, device="meta")).shape)
        except (RuntimeError, IndexError) as error:
            raise UnsupportedModelError(f"{label}: shapes disagree: {str(error).splitlines()[0]}") from None
        if not shape or shape[0] != BATCH:
            raise UnsupportedModelError(f"{label}: the batch does not remain the first axis")
        self.nodes.append(node)
        self.shapes[node.output] = (-1, *shape[1:])
        return node.output

    def convert(self, node: onnx.NodeProto, converter: Callable[[Converting], None] | None, label: str) -> None:
        """Convert one ONNX node, or fold it if all its inputs are constant.

        Raises:
            UnsupportedModelError: if there is no converter, or it cannot convert this node.
        """
        converting = Converting(self, node, label)
        inputs = [name for name in converting.inputs if name]
        for name in inputs:
            if name not in self.constants and name not in self.shapes and name not in self.sequences:
                raise UnsupportedModelError(f"{label}: its input {name} is not computed by a supported operator")
        if inputs and all(name in self.constants for name in inputs):
            self._fold(node, converting)
        elif converter is None:
            raise UnsupportedModelError(f"{label}: operator not supported; docs/architecture.md lists those that are")
        else:
            converter(converting)

    def _fold(self, node: onnx.NodeProto, converting: Converting) -> None:
        from onnx.reference import ReferenceEvaluator

        renamed = onnx.NodeProto()
        renamed.CopyFrom(node)
        del renamed.input[:]
        renamed.input.extend(converting.inputs)
        outputs = [name for name in node.output if name]
        graph = onnx.helper.make_graph([renamed], "fold", [], [onnx.ValueInfoProto(name=name) for name in outputs])
        for name in {name for name in converting.inputs if name}:
            graph.initializer.append(numpy_helper.from_array(np.asarray(self.constants[name]), name))
        model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", self.opset)])
        try:
            for name, value in zip(outputs, ReferenceEvaluator(model).run(None, {})):
                self.constants[name] = np.asarray(value)
        except Exception as error:  # the evaluator's operators have no common error type
            raise converting.fail(f"cannot be computed from its constant inputs: {error}") from None
