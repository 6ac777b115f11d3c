"""Nested reconstruction: shared weights solved in closed form, so that every network cut from them follows the original.

Without gradients and without labels. Layer by layer, in order, the weights of a layer are chosen by least squares so that
it gives, from the inputs that each cut network *has by then*, what the full network gives (ThiNet: Luo, Wu, Lin, ICCV 2017;
He, Zhang, Sun: Channel Pruning for Accelerating Very Deep Neural Networks, ICCV 2017). New here: the same weights serve all
networks of the ladder. A row of weights is used by each network that keeps its channel, and a network reads the first of
its columns; so the normal equations of all of them are added, each in its place, and one solution serves all. Where a layer
ends a residual branch, its target makes up for what the stream before it has lost already. A quarter of the samples is held
out of a layer's first solution, and says how far it may move: with few samples and many inputs, hardly or not at all.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from secateur.ir import Network, Node, Samples, sample_count, take
from secateur.tuning.equations import HELD_OUT, Equations, positions, solve
from secateur.tuning.moments import Moments
from secateur.tuning.recalibration import Statistics
from secateur.tuning.reference import Reference
from secateur.tuning.subnetwork import Subnetwork
from secateur.twin import feeds, fixed_values, split
from secateur.twin.execute import apply, channel_view
from secateur.twin.feeds import ELEMENTS

FULL_WEIGHT = 3.0
"""The original's equations count for so many times the others' together: it must not get worse."""
SAMPLES, FEWEST = 512, 8
"""Most samples, and fewest however large a network is."""
MEMORY = 3 << 27
"""Elements that the largest tensors of all networks may have for all samples together: 1.6 GB."""
COLUMNS = 1 << 13
"""A layer with more inputs times taps stays as it is: its equations would take minutes."""

Parts = list[Tensor]
"""A tensor, for each part of the samples."""


@dataclass
class Reconstruction:
    """What was solved.

    Attributes:
        weights: all shared weights; those of depthwise convolutions and of constants as they were.
        statistics: for each network, table → mean and deviation that its channels should have.
    """

    weights: dict[str, NDArray[np.float32]]
    statistics: list[dict[str, Statistics]]


@dataclass
class _Walker:
    """One cut network on its way through the layers; ``nodes`` are those that it has, by the tensor they write."""

    subnetwork: Subnetwork
    weight: float
    nodes: dict[str, Node]
    values: dict[str, Parts]
    statistics: dict[str, Statistics] = field(default_factory=dict)


def reconstruct(original: Network, subnetworks: Sequence[Subnetwork], inputs: Samples) -> Reconstruction:
    """Solve the shared weights for all networks of a ladder.

    Args:
        original: the full network, sorted.
        subnetworks: what is cut from it, the full one first.
        inputs: calibration inputs, (samples, …); a hundred are enough for small networks.
    """
    largest = max(int(np.prod(shape[1:])) for shape in original.shapes.values())
    count = max(FEWEST, min(SAMPLES, MEMORY // (largest * (1 + len(subnetworks)))))
    inputs = take(inputs, slice(0, count))
    most = max(1, sample_count(inputs) // HELD_OUT)  # there must be parts to hold one out
    parts = [feeds(original, part) for part in split(original, inputs, ELEMENTS, most)]
    others = max(1, len(subnetworks) - 1)
    walkers = [
        _Walker(s, 1.0 if i else FULL_WEIGHT * others, {n.output: n for n in s.network.nodes}, _columns(parts))
        for i, s in enumerate(subnetworks)
    ]
    weights = {key: np.array(value, np.float32) for key, value in original.weights.items()}
    with torch.no_grad():
        _Layers(original, Reference(original, parts), weights, len(parts)).walk(walkers)
    return Reconstruction(weights, [walker.statistics for walker in walkers])


def _columns(parts: Sequence[Mapping[str, Tensor]]) -> dict[str, Parts]:
    return {name: [part[name] for part in parts] for name in parts[0]}


class _Layers:
    """Goes through the layers of the full network and of all cut ones in lockstep."""

    def __init__(self, original: Network, reference: Reference, weights: dict[str, NDArray[np.float32]], parts: int) -> None:
        self._original = original
        self._reference = reference
        self._weights = weights
        self._parts = parts
        self._readers = original.consumers()
        used = [name for node in original.nodes for name in node.weights]
        self._shared = {name for name in used if used.count(name) > 1}

    def walk(self, walkers: list[_Walker]) -> None:
        # Where a block is gone, what read its sum reads the tensor before it: each network has last uses of its own.
        last_use = [{name: n.output for n in walker.nodes.values() for name in n.inputs} for walker in walkers]
        for node in self._original.nodes:
            present = [(w, w.nodes[node.output], last) for w, last in zip(walkers, last_use) if node.output in w.nodes]
            if self._solvable(node):
                self._solve(node, [walker for walker, *_ in present])
            for walker, cut_node, last in present:
                spent = {name for name in cut_node.inputs if last[name] == cut_node.output}
                walker.values[cut_node.output] = self._run(walker, node, cut_node, spent)
                for name in spent:
                    del walker.values[name]
            self._reference.of(node.output)
            self._reference.forget(node.output)

    def _solvable(self, node: Node) -> bool:
        dense = node.op == "Linear" or (node.op == "Conv" and node.attrs["groups"] == 1)
        weight = self._original.weights[node.attrs["weight"]] if dense else np.zeros(0)
        if not dense or node.attrs["weight"] in self._shared or weight[0].size > COLUMNS:
            return False
        readers = self._readers[node.output]
        return len(readers) == 1 and readers[0].op == "Affine"

    def _solve(self, node: Node, walkers: Sequence[_Walker]) -> None:
        """Solve one layer's weights."""
        name = node.attrs["weight"]
        before = torch.from_numpy(self._weights[name].reshape(len(self._weights[name]), -1)).double()
        kernel = self._weights[name].shape[2:]
        taps = int(np.prod(kernel, dtype=np.int64))
        found = []
        for walker in walkers:
            rows, inputs = walker.subnetwork.index[name][:2]
            columns = torch.from_numpy((inputs[:, None] * taps + np.arange(taps)).ravel())
            equations = Equations(walker.weight, columns, rows)
            values = walker.values[walker.nodes[node.output].inputs[0]]
            for part, (x, target) in enumerate(zip(values, self._targets(node, walker, rows))):
                equations.add(part, *positions(node, kernel, x, target, self._parts))
            found.append(equations)
        self._weights[name] = solve(before, found).float().numpy().reshape(self._weights[name].shape)

    def _targets(self, node: Node, walker: _Walker, rows: NDArray[np.int64]) -> Iterator[Tensor]:
        """What the layer should give on its kept channels, before the scale and shift of the full network."""
        kept = torch.from_numpy(rows)
        axis = 1 if node.op == "Conv" else len(self._original.shapes[node.output]) - 1
        affine = self._readers[node.output][0]
        residual = self._residual(affine, walker)
        if residual is None:
            yield from (value.index_select(axis, kept) for value in self._reference.of(node.output))
            return
        table = self._original.tables[affine.attrs["table"]]
        scale = torch.from_numpy(np.where(np.abs(table.scale) > 1e-6, table.scale, 1.0)[rows].astype(np.float32))
        shift = torch.from_numpy(np.asarray(table.shift[rows], np.float32))
        for whole, other in zip(self._reference.of(residual[0]), residual[1]):
            wanted = whole.index_select(axis, kept) - other
            yield (wanted - channel_view(shift, axis, wanted.ndim)) / channel_view(scale, axis, wanted.ndim)

    def _residual(self, affine: Node, walker: _Walker) -> tuple[str, Parts] | None:
        """If only an Add reads the layer and its other operand is there: the Add's output, and that operand."""
        readers = self._readers[affine.output]
        if len(readers) != 1 or readers[0].op != "Add" or affine.output in self._original.outputs:
            return None
        addition = walker.nodes.get(readers[0].output)
        others = [name for name in addition.inputs if name != affine.output] if addition is not None else []
        value = walker.values.get(others[0]) if len(others) == 1 else None
        same = value is not None and value[0].ndim == len(self._original.shapes[affine.output])
        return (readers[0].output, value) if same and value is not None else None

    def _run(self, walker: _Walker, full_node: Node, node: Node, spent: AbstractSet[str]) -> Parts:
        network = walker.subnetwork.network
        if node.op == "Affine" and node.output not in self._original.outputs:
            return self._refit(walker, full_node, walker.values[node.inputs[0]])
        weights = {name: self._weights[name][np.ix_(*walker.subnetwork.index[name])] for name in node.weights}
        tables = {node.attrs["table"]: network.tables[node.attrs["table"]]} if "table" in node.attrs else {}
        values = fixed_values(Network({}, {}, [], weights, tables, {}))
        outputs = []
        for part in range(self._parts):
            outputs.append(apply(node, [walker.values[name][part] for name in node.inputs], values))
            for name in spent:
                walker.values[name][part] = _GONE
        return outputs

    def _refit(self, walker: _Walker, node: Node, parts: Parts) -> Parts:
        """Regress what each channel should be on what it is; note its mean and deviation."""
        table, axis = node.attrs["table"], node.attrs["axis"]
        kept = torch.from_numpy(walker.subnetwork.tables[table])
        residual = self._residual(node, walker)
        whole = self._reference.of(node.output if residual is None else residual[0])

        def wanted(part: int) -> Tensor:
            value = whole[part].index_select(axis, kept)
            return value if residual is None else value - residual[1][part]

        if wanted(0).shape != parts[0].shape:
            return self._as_it_was(walker, node, parts)
        moments = Moments()
        for part, x in enumerate(parts):
            moments.add(x, axis, wanted(part))
        negative = torch.from_numpy(walker.subnetwork.network.tables[table].scale < 0)
        sign = torch.where(negative, -1.0, 1.0).double()
        # Another sign than the full network's would turn that of shared weights, for one network alone.
        gain = (sign * moments.covariance / moments.variance.clamp_min(1e-12)).clamp_min(0.0)
        deviation = (sign * gain * moments.variance.sqrt()).numpy()
        walker.statistics[table] = Statistics(moments.goal.numpy(), deviation)
        slope = sign * gain
        offset = moments.goal - slope * moments.mean
        slope_view, offset_view = (channel_view(value.float(), axis, parts[0].ndim) for value in (slope, offset))
        return [x * slope_view + offset_view for x in parts]

    @staticmethod
    def _as_it_was(walker: _Walker, node: Node, parts: Parts) -> Parts:
        """Scale and shift along one axis where another is cut: nothing to compare with, so they stay the full network's."""
        table, axis = walker.subnetwork.network.tables[node.attrs["table"]], node.attrs["axis"]
        scale, shift = (torch.from_numpy(v) for v in (table.scale, table.shift))
        moments = Moments()
        for x in parts:
            moments.add(x, axis)
        mean, deviation = scale * moments.mean + shift, scale * moments.variance.sqrt()
        walker.statistics[node.attrs["table"]] = Statistics(mean.double().numpy(), deviation.double().numpy())
        views = [channel_view(value, axis, parts[0].ndim) for value in (scale, shift)]
        return [x * views[0] + views[1] for x in parts]


_GONE = torch.empty(0)
