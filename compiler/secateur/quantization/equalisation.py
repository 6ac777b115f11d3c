"""Channels of one tensor are brought to similar ranges, since eight bits cover all of them with one scale.

Nagel et al.: Data-Free Quantization through Weight Equalization and Bias Correction, ICCV 2019, section 4.1. There a layer's
output channel is divided by s, and what reads it is multiplied by s. Here the private table behind a layer is divided, so
that its shared weights stay as they are, and ranges are those of activations: weights have a scale for each output channel.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from secateur.ir import Network, Node, Samples
from secateur.twin import outputs_of

Array64 = NDArray[np.float64]
_PASSING = ("Relu", "MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool", "Add")
"""Operators for which it is the same whether channels are divided before or after."""
MOST = 64.0
"""A channel is scaled by no more than this, or its inverse."""


@dataclass
class _Class:
    """Tensors that must be scaled alike, the tables behind which they are divided, and the weights that read them."""

    tensors: set[str] = field(default_factory=set)
    tables: set[str] = field(default_factory=set)
    readers: dict[str, int] = field(default_factory=dict)
    barred: bool = False


@dataclass(frozen=True)
class Equalisation:
    """What tables are divided by and weights are multiplied by.

    Attributes:
        tables: table → divisor of each channel, (channels,).
        weights: weight → axis, and factor for each of its indices, (size,).
    """

    tables: Mapping[str, Array64]
    weights: Mapping[str, tuple[int, Array64]]

    def at(self, strength: float) -> Equalisation:
        """Return a weaker one: 1 makes ranges as even in activations as in the weights that read them, 0 changes nothing."""
        return Equalisation(
            {name: _limited(factor**strength) for name, factor in self.tables.items()},
            {name: (axis, _limited(factor**strength)) for name, (axis, factor) in self.weights.items()},
        )


def _limited(factor: Array64) -> Array64:
    return factor.clip(1 / MOST, MOST)


def equalise(network: Network, inputs: Samples) -> Equalisation:
    """Choose what evens out the ranges of channels, and changes no output.

    Args:
        network: the full network.
        inputs: calibration inputs, (samples, …).

    Returns:
        The factors without limit; `Equalisation.at` limits them to `MOST`.
    """
    classes = [each for each in _classes(network) if not each.barred and each.tables and each.readers]
    ranges = _channel_ranges(network, inputs, {name for each in classes for name in each.tensors})
    tables: dict[str, Array64] = {}
    weights: dict[str, tuple[int, Array64]] = {}
    for each in classes:
        size = network.tables[next(iter(each.tables))].scale.size
        activations = np.max([ranges[name] for name in each.tensors if ranges[name].size == size], axis=0)
        read = np.max([_ranges_along(network.weights[name], axis) for name, axis in each.readers.items()], axis=0)
        factor = np.ones(size)
        alive = (activations > 0) & (read > 0)
        factor[alive] = np.sqrt(activations[alive] / read[alive])
        if alive.any():
            factor[alive] /= np.exp(np.log(factor[alive]).mean())
        tables |= dict.fromkeys(each.tables, factor)
        weights |= {name: (axis, factor) for name, axis in each.readers.items()}
    return Equalisation(tables, weights)


def _ranges_along(weight: NDArray[np.float32], axis: int) -> Array64:
    others = tuple(index for index in range(weight.ndim) if index != axis)
    return np.asarray(np.abs(weight).max(axis=others), np.float64)


def _channel_ranges(network: Network, inputs: Samples, tensors: set[str]) -> dict[str, Array64]:
    """The largest absolute value of each channel of these tensors."""
    found: dict[str, Array64] = {}

    def observe(name: str, value: Tensor) -> None:
        if name in tensors:
            largest = value.abs().transpose(0, 1).flatten(1).amax(1).double().numpy()
            found[name] = np.maximum(found[name], largest) if name in found else largest

    outputs_of(network, inputs, observe)
    return found


def _classes(network: Network) -> list[_Class]:
    of: dict[str, _Class] = {}

    def class_of(tensor: str) -> _Class:
        if tensor not in of:
            of[tensor] = _Class({tensor}, barred=tensor in network.inputs or tensor in network.outputs)
        return of[tensor]

    def join(first: str, second: str) -> None:
        one, other = class_of(first), class_of(second)
        if one is not other:
            one.tensors |= other.tensors
            one.tables |= other.tables
            one.readers |= other.readers
            one.barred |= other.barred
            of.update(dict.fromkeys(other.tensors, one))

    once = _read_once(network)
    for node in network.nodes:
        if "weight" in node.attrs:
            axis = _read_axis(network, node)
            reader = class_of(node.inputs[0])
            if axis is None or node.attrs["weight"] not in once:
                reader.barred = True
            else:
                reader.readers[node.attrs["weight"]] = axis
            # What a layer gives before its table is scaled with nothing.
            class_of(node.output).barred = True
        elif node.op == "Affine" and node.attrs["axis"] == 1 and node.attrs["table"] in once:
            class_of(node.output).tables.add(node.attrs["table"])
            class_of(node.inputs[0]).barred = True
        elif node.op in _PASSING or _only_flattens(network, node):
            for name in node.inputs:
                join(name, node.output)
        else:
            for name in (*node.inputs, node.output):
                class_of(name).barred = True
    return list({id(each): each for each in of.values()}.values())


def _only_flattens(network: Network, node: Node) -> bool:
    """Whether each channel is one value, so that it is the same channel afterwards."""
    return node.op == "Flatten" and network.shapes[node.output][1:] == (network.shapes[node.inputs[0]][1],)


def _read_once(network: Network) -> set[str]:
    """Weights and tables that one node alone uses."""
    used = [
        name for node in network.nodes for name in (*node.weights, *([node.attrs["table"]] if node.op == "Affine" else []))
    ]
    return {name for name in used if used.count(name) == 1}


def _read_axis(network: Network, node: Node) -> int | None:
    """The axis of a layer's weight that has an index for each channel that it reads, or None if there is none."""
    shape = network.weights[node.attrs["weight"]].shape
    channels = network.shapes[node.inputs[0]][1]
    if node.op == "Conv" and node.attrs["groups"] == 1:
        return 1
    if node.op == "Conv" and node.attrs["groups"] == channels == shape[0]:
        return 0
    if node.op == "Linear" and len(network.shapes[node.inputs[0]]) == 2:
        return 1
    return None
