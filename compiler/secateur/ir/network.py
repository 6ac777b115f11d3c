"""A network in normal form."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Node:
    """An operator. ``op`` is an ONNX operator name, or one of the normal form's own:

    ``Conv`` (attrs ``weight``, ``strides``, ``pads``, ``dilations``, ``groups``), ``ConvTranspose`` (likewise, and
    ``output_padding``; its weight is (out, in / groups, kernel…) too), ``Linear`` (attr ``weight``; acts on the last axis),
    ``Affine`` (attrs ``table``, ``axis``), ``Take`` (attrs ``axis``, ``index``), ``PerSample`` (a constant that is repeated
    for each sample of its input). ``Reshape`` (attr ``shape``, −1 for the batch) leaves the batch alone; ``Expand`` (attr
    ``shape``) says how often each axis is repeated; reductions (attr ``axes``) keep their axes, of size 1. Any other
    operator may have attr ``constants``: weights that it takes after its inputs; they are shared too, but never quantized.
    ``source`` is the node's name in the user's model.
    """

    op: str
    inputs: tuple[str, ...]
    output: str
    attrs: Mapping[str, Any] = field(default_factory=dict)
    source: str = ""

    @property
    def constants(self) -> tuple[str, ...]:
        """Weights that the operator takes after its inputs."""
        return tuple(self.attrs.get("constants", ()))

    @property
    def weights(self) -> tuple[str, ...]:
        """All weights that the node uses."""
        return (self.attrs["weight"], *self.constants) if "weight" in self.attrs else self.constants

    def with_attrs(self, **changes: Any) -> Node:
        """Return a copy with some attributes replaced."""
        return replace(self, attrs={**self.attrs, **changes})


@dataclass(frozen=True)
class Table:
    """The private values of an ``Affine`` node: ``y = scale · x + shift`` per channel, both of shape (channels,)."""

    scale: Array
    shift: Array


@dataclass
class Network:
    """A network in normal form.

    Attributes:
        inputs: input tensor → shape; the first axis is the batch, −1.
        outputs: output tensor → shape, likewise.
        nodes: in topological order.
        weights: shared weights, (out, in / groups, kernel…), float32.
        tables: private tables of the ``Affine`` nodes.
        shapes: every tensor → shape, −1 for the batch.
        dtypes: element types of inputs and outputs that are not ``float32``, by numpy's names.
    """

    inputs: dict[str, tuple[int, ...]]
    outputs: dict[str, tuple[int, ...]]
    nodes: list[Node]
    weights: dict[str, Array]
    tables: dict[str, Table]
    shapes: dict[str, tuple[int, ...]]
    dtypes: dict[str, str] = field(default_factory=dict)

    def dtype(self, name: str) -> str:
        """Return the element type of an input or output, by numpy's name."""
        return self.dtypes.get(name, "float32")

    def consumers(self) -> dict[str, list[Node]]:
        """Return tensor → the nodes that read it."""
        found: dict[str, list[Node]] = {name: [] for name in self.shapes}
        for node in self.nodes:
            for name in node.inputs:
                found.setdefault(name, []).append(node)
        return found

    def producers(self) -> dict[str, Node]:
        """Return tensor → the node that writes it."""
        return {node.output: node for node in self.nodes}

    def affines(self) -> dict[str, Node]:
        """Return tensor → the ``Affine`` node that scales and shifts it; behind every shared weight there is one."""
        return {node.inputs[0]: node for node in self.nodes if node.op == "Affine"}

    def with_values(self, weights: Mapping[str, Array] | None = None, tables: Mapping[str, Table] | None = None) -> Network:
        """Return a copy with other weights or tables of the same shapes."""
        return replace(self, weights=dict(weights or self.weights), tables=dict(tables or self.tables))

    @property
    def constants(self) -> set[str]:
        """Names of the weights that are never quantized."""
        return {name for node in self.nodes for name in node.constants}

    @property
    def params(self) -> int:
        """Number of shared weights and private values."""
        return sum(w.size for w in self.weights.values()) + sum(2 * t.scale.size for t in self.tables.values())
