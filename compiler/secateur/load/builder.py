"""Collects the nodes of a network while an ONNX graph is converted, and folds what depends on constants alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import torch
from onnx import numpy_helper

from secateur.ir import Network, Node, Table, UnsupportedModelError
from secateur.ir.reshaping import pure_reshape
from secateur.load.converting import BATCH, Constant, Converting
from secateur.load.views import Arranged, View, batch_in_front, plain
from secateur.twin import fixed_values
from secateur.twin.execute import apply

ELEMENT_TYPES = {torch.float32: "float32", torch.int64: "int64", torch.int32: "int32", torch.bool: "bool"}
"""Element types that tensors may have."""

__all__ = ["BATCH", "ELEMENT_TYPES", "Builder", "Constant", "Converting"]


class Builder:
    """A network under construction. ``shapes`` has −1 for the batch.

    ``views`` are ONNX tensors that are rearranged tensors of the network; ``sequences`` are ONNX sequences and the names of
    their tensors; ``read`` are the names that some node reads;
    ``moved`` are constants made of one other (a transposed weight), and its name. ``one_sample``: the file takes a batch of
    exactly one, so that the batch and another axis of size 1 may change places.
    """

    def __init__(self, constants: dict[str, Constant], opset: int, read: set[str] | None = None) -> None:
        self.constants = constants
        self.opset = opset
        self.read = read or set()
        self.inputs: dict[str, tuple[int, ...]] = {}
        self.nodes: list[Node] = []
        self.weights: dict[str, Any] = {}
        self.tables: dict[str, Table] = {}
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.dtypes: dict[str, torch.dtype] = {}
        self.views: dict[str, View] = {}
        self.sequences: dict[str, list[str]] = {}
        self.one_sample = True
        self.moved: dict[str, str] = {}
        self._made: dict[tuple[object, ...], str] = {}

    def add_input(self, name: str, shape: tuple[int, ...], dtype: str = "float32") -> None:
        """Declare an input of the network."""
        self.inputs[name] = self.shapes[name] = shape
        self.dtypes[name] = getattr(torch, dtype)

    def view(self, name: str) -> View:
        """Return the ONNX tensor ``name`` as a view."""
        return self.views[name] if name in self.views else plain(name, (BATCH, *self.shapes[name][1:]))

    def tensor(self, name: str) -> str:
        """Return the ONNX tensor ``name`` as a tensor of the network.

        Raises:
            UnsupportedModelError: if the batch is not its first axis.
        """
        view = self.view(name)
        if self.one_sample and not view.batch_first:
            view = view.batch_swapped()
        if not view.batch_first:
            raise UnsupportedModelError(f"{view.origin[1]}: the batch does not remain the first axis")
        return self._materialise(view, name)

    def arranged(self, view: View) -> Arranged:
        """Return a view's tensor with the batch in front."""
        groups, axes, order = batch_in_front(view)
        tensor = self._materialise(view.regrouped(groups), "")
        return Arranged(tensor, axes, (BATCH, *self.shapes[tensor][1:]), order)

    def _materialise(self, view: View, wanted: str) -> str:
        """Add the nodes that make a view whose batch is in front: split axes, move them, join them."""
        if [len(axis) for axis in view.axes] == [len(group) for group in view.groups] and view.groups == view.axes:
            return view.source
        if view.key in self._made:
            return self._made[view.key]
        name, label = view.origin
        free = wanted and wanted not in self.shapes and wanted not in self.constants
        base = wanted if free else f"{view.source}:{len(self._made)}"
        tensor, atoms = view.source, [atom for axis in view.axes for atom in axis]
        order = [atom for group in view.groups for atom in group]
        shape = (-1, *view.shape[1:])
        if atoms == order and pure_reshape(self.shapes[tensor], shape):
            flat = len(shape) == 2 and len(self.shapes[tensor]) > 2
            node = Node("Flatten" if flat else "Reshape", (tensor,), base, {} if flat else {"shape": shape}, name)
            tensor = self.add(node, label)
        else:
            parts = (-1, *(atom.size for atom in atoms[1:]))
            if parts != self.shapes[tensor]:
                tensor = self.add(Node("Reshape", (tensor,), base + ":split", {"shape": parts}, name), label)
            if atoms != order:
                perm, moved = tuple(atoms.index(atom) for atom in order), (-1, *(atom.size for atom in order[1:]))
                tensor = self.add(
                    Node("Transpose", (tensor,), base if moved == shape else base + ":moved", {"perm": perm}, name), label
                )
            if self.shapes[tensor] != shape:
                flat = len(shape) == 2
                attrs = {} if flat else {"shape": shape}
                tensor = self.add(Node("Flatten" if flat else "Reshape", (tensor,), base, attrs, name), label)
        self._made[view.key] = tensor
        return tensor

    def add(self, node: Node, label: str) -> str:
        """Add a node; its shape follows from running it on tensors without values."""
        feeds = [
            torch.empty([BATCH if s == -1 else s for s in self.shapes[n]], device="meta", dtype=self.dtypes[n])
            for n in node.inputs
        ]
        names = node.weights
        tables = [node.attrs["table"]] if "table" in node.attrs else []
        scope = Network({}, {}, [], {n: self.weights[n] for n in names}, {t: self.tables[t] for t in tables}, {})
        try:
            result = apply(node, feeds, fixed_values(scope, device="meta"))
        except (RuntimeError, IndexError) as error:
            raise UnsupportedModelError(f"{label}: shapes disagree: {str(error).splitlines()[0]}") from None
        shape = tuple(result.shape)
        if not shape or shape[0] != BATCH:
            raise UnsupportedModelError(f"{label}: the batch does not remain the first axis")
        self.nodes.append(node)
        self.shapes[node.output] = (-1, *shape[1:])
        self.dtypes[node.output] = result.dtype
        return node.output

    def convert(self, node: onnx.NodeProto, converter: Callable[[Converting], None] | None, label: str) -> None:
        """Convert one ONNX node, or fold it if all its inputs are constant.

        Raises:
            UnsupportedModelError: if there is no converter, or it cannot convert this node.
        """
        converting = Converting(self, node, label)
        inputs = [name for name in converting.given if name]
        for name in inputs:
            if not any(name in known for known in (self.constants, self.shapes, self.views, self.sequences)):
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
        renamed.input.extend(converting.given)
        outputs = [name for name in node.output if name]
        graph = onnx.helper.make_graph([renamed], "fold", [], [onnx.ValueInfoProto(name=name) for name in outputs])
        for name in {name for name in converting.given if name}:
            graph.initializer.append(numpy_helper.from_array(np.asarray(self.constants[name]), name))
        model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", self.opset)])
        try:
            results = ReferenceEvaluator(model).run(None, {})
        except Exception as error:  # the evaluator's operators have no common error type
            raise converting.fail(f"cannot be computed from its constant inputs: {error}") from None
        if len(renamed.input) == 1:
            self.moved[outputs[0]] = self.moved.get(renamed.input[0], renamed.input[0])
        for name, value in zip(outputs, results):
            self.constants[name] = np.asarray(value)
