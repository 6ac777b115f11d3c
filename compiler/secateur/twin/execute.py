"""Runs a network in normal form in torch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from secateur.ir import Network, Node
from secateur.twin.operators import OPERATORS
from secateur.twin.operators.convolution import conv


class Values(Protocol):
    """Where the twin takes weights from, and what it does at an ``Affine`` node."""

    def weight(self, name: str) -> Tensor:
        """Return a shared weight."""

    def affine(self, node: Node, x: Tensor) -> Tensor:
        """Return what the ``Affine`` node makes of ``x``."""


class Together(Values, Protocol):
    """The same for several batches that are executed in lockstep."""

    def affine_together(self, node: Node, parts: Sequence[Tensor]) -> list[Tensor]:
        """Return what the ``Affine`` node makes of the same tensor of every batch."""


def channel_view(vector: Tensor, axis: int, ndim: int) -> Tensor:
    """Reshape a per-channel vector so that it broadcasts along ``axis`` of a tensor of ``ndim`` axes."""
    shape = [1] * ndim
    shape[axis] = -1
    return vector.reshape(shape)


class _Fixed:
    def __init__(self, network: Network, dtype: torch.dtype, device: str) -> None:
        self.dtype = dtype

        def tensor(array: NDArray[Any]) -> Tensor:
            return torch.tensor(array, dtype=dtype, device=device)

        self._weights = {name: tensor(array) for name, array in network.weights.items()}
        self._tables = {name: (tensor(table.scale), tensor(table.shift)) for name, table in network.tables.items()}

    def weight(self, name: str) -> Tensor:
        return self._weights[name]

    def affine(self, node: Node, x: Tensor) -> Tensor:
        scale, shift = self._tables[node.attrs["table"]]
        axis = node.attrs["axis"]
        return x * channel_view(scale, axis, x.ndim) + channel_view(shift, axis, x.ndim)


def fixed_values(network: Network, dtype: torch.dtype = torch.float32, device: str = "cpu") -> Values:
    """Return the network's own weights and tables as `Values`."""
    return _Fixed(network, dtype, device)


def run(
    network: Network,
    feeds: Mapping[str, Tensor],
    values: Values,
    wanted: Iterable[str] | None = None,
    on_tensor: Callable[[str, Tensor], Tensor | None] | None = None,
) -> dict[str, Tensor]:
    """Execute a network.

    Args:
        network: what to run.
        feeds: input tensor → value, batch first.
        values: weights and affine tables.
        wanted: tensors to return; the network's outputs if None.
        on_tensor: called with every tensor in order, inputs first; what it returns, if not None, replaces the tensor.

    Returns:
        Tensor name → value, in the order of ``wanted``.
    """
    names = list(network.outputs if wanted is None else wanted)
    live: dict[str, Tensor] = {}

    def put(name: str, value: Tensor) -> None:
        replaced = on_tensor(name, value) if on_tensor else None
        live[name] = value if replaced is None else replaced

    for name in network.inputs:
        put(name, feeds[name])
    for node, spent in _in_order(network, names):
        put(node.output, apply(node, [live[name] for name in node.inputs], values))
        for name in spent:
            del live[name]
    return {name: live[name] for name in names}


def run_together(network: Network, parts: Sequence[Mapping[str, Tensor]], values: Together) -> list[dict[str, Tensor]]:
    """Execute a network on several batches in lockstep: what an ``Affine`` node makes of one may depend on all of them.

    Args:
        network: what to run.
        parts: for each batch, input tensor → value.
        values: weights, and what ``Affine`` nodes do.

    Returns:
        For each batch, output tensor → value.
    """
    live = [dict(part) for part in parts]
    for node, spent in _in_order(network, network.outputs):
        inputs = [[tensors[name] for name in node.inputs] for tensors in live]
        if node.op == "Affine":
            outputs = values.affine_together(node, [x for (x,) in inputs])
        else:
            outputs = [apply(node, each, values) for each in inputs]
        for tensors, output in zip(live, outputs):
            tensors[node.output] = output
            for name in spent:
                del tensors[name]
    return [{name: tensors[name] for name in network.outputs} for tensors in live]


def _in_order(network: Network, wanted: Iterable[str]) -> Iterator[tuple[Node, set[str]]]:
    """Return every node with the tensors that nobody needs after it."""
    keep = set(wanted)
    last_use = {name: index for index, node in enumerate(network.nodes) for name in node.inputs}
    for index, node in enumerate(network.nodes):
        yield node, {name for name in node.inputs if last_use[name] == index and name not in keep}


def apply(node: Node, inputs: list[Tensor], values: Values) -> Tensor:
    """Execute one node."""
    if node.op == "Conv":
        return conv(inputs[0], values.weight(node.attrs["weight"]), node.attrs)
    if node.op == "Linear":
        return F.linear(inputs[0], values.weight(node.attrs["weight"]))
    if node.op == "Affine":
        return values.affine(node, inputs[0])
    if node.op == "Cast":
        return inputs[0].to(getattr(values, "dtype", torch.float32))
    return OPERATORS[node.op]([*inputs, *(values.weight(name) for name in node.weights)], node.attrs)


def shapes_of(network: Network, batch: int = 2) -> dict[str, tuple[int, ...]]:
    """Return the shape of every tensor, −1 for the batch, without computing any value."""
    shapes: dict[str, tuple[int, ...]] = {}

    def note(name: str, value: Tensor) -> None:
        shapes[name] = (-1, *value.shape[1:])

    feeds = {
        name: torch.empty((batch, *shape[1:]), device="meta", dtype=getattr(torch, network.dtype(name)))
        for name, shape in network.inputs.items()
    }
    run(network, feeds, fixed_values(network, device="meta"), on_tensor=note)
    return shapes
