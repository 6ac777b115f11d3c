"""Nested reconstruction: shared weights solved in closed form, so that every network cut from them follows the original.

Without gradients and without labels. Layer by layer, in order, the weights of a layer are chosen by least squares so that
it gives, from the inputs that each cut network *has by then*, what the full network gives (ThiNet: Luo, Wu, Lin, ICCV 2017;
He, Zhang, Sun: Channel Pruning for Accelerating Very Deep Neural Networks, ICCV 2017). New here: the same weights serve all
networks of the ladder. A row of weights is used by each network that keeps its channel, and a network reads the first of
its columns; so the normal equations of all of them are added, each in its place, and one solution serves all. Where a layer
ends a residual branch, its target makes up for what the stream before it has lost already.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from secateur.ir import Network, Node, Samples, take
from secateur.tuning.recalibration import Statistics
from secateur.tuning.subnetwork import Subnetwork
from secateur.twin import feeds, fixed_values, run
from secateur.twin.execute import apply, channel_view

RIDGE = 0.03
"""Pull towards the original weights, as a share of the mean power of an input: few samples must not be overfitted."""
FULL_WEIGHT = 3.0
"""The original's equations count for so many times the others' together: it must not get worse."""
ELEMENTS = 1 << 27
"""Elements of all of the full network's tensors that are kept at once: bounds memory, and so the number of samples."""
ROWS = 1 << 16
"""Most positions that a layer's equations are made of."""
COLUMNS = 1 << 13
"""A layer with more inputs times taps stays as it is: its equations would take minutes."""


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
    values: dict[str, Tensor]
    statistics: dict[str, Statistics] = field(default_factory=dict)


def reconstruct(
    original: Network, subnetworks: Sequence[Subnetwork], inputs: Samples, ridge: float = RIDGE
) -> Reconstruction:
    """Solve the shared weights for all networks of a ladder.

    Args:
        original: the full network, sorted.
        subnetworks: what is cut from it, the full one first.
        inputs: calibration inputs, (samples, …); a hundred are enough for small networks.
        ridge: pull towards the original weights.
    """
    per_sample = sum(int(np.prod(shape[1:])) for shape in original.shapes.values())
    x = feeds(original, take(inputs, slice(0, max(8, ELEMENTS // max(1, per_sample)))))
    others = max(1, len(subnetworks) - 1)
    walkers = [
        _Walker(s, 1.0 if i else FULL_WEIGHT * others, {n.output: n for n in s.network.nodes}, dict(x))
        for i, s in enumerate(subnetworks)
    ]
    weights = {key: np.array(value, np.float32) for key, value in original.weights.items()}
    with torch.no_grad():
        reference = run(original, x, fixed_values(original), wanted=original.shapes)
        _Layers(original, reference, weights, ridge).walk(walkers)
    return Reconstruction(weights, [walker.statistics for walker in walkers])


class _Layers:
    """Goes through the layers of the full network and of all cut ones in lockstep."""

    def __init__(
        self, original: Network, reference: Mapping[str, Tensor], weights: dict[str, NDArray[np.float32]], ridge: float
    ) -> None:
        self._original = original
        self._reference = reference
        self._weights = weights
        self._ridge = ridge
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
                walker.values[cut_node.output] = self._run(walker, node, cut_node)
                for name in cut_node.inputs:
                    if last[name] == cut_node.output:
                        walker.values.pop(name, None)

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
        outputs, columns = before.shape
        kernel = self._weights[name].shape[2:]
        taps = int(np.prod(kernel, dtype=np.int64))
        found: list[tuple[Tensor, Tensor, Tensor, NDArray[np.int64]]] = []
        for walker in walkers:
            rows, inputs = walker.subnetwork.index[name][:2]
            a, target = _rows(
                node, kernel, walker.values[walker.nodes[node.output].inputs[0]], self._target(node, walker, rows)
            )
            place = torch.from_numpy((inputs[:, None] * taps + np.arange(taps)).ravel())
            share = walker.weight / len(a)
            found.append((share * (a.T @ a), share * (a.T @ target), place, rows))
        after = before.clone()
        for members, chosen in _alike([rows for *_, rows in found], outputs).items():
            gram = torch.zeros((columns, columns), dtype=torch.float64)
            right = torch.zeros((columns, len(chosen)), dtype=torch.float64)
            for number in members:
                own, product, place, rows = found[number]
                gram[place[:, None], place[None]] += own
                right[place] += product[:, torch.from_numpy(np.searchsorted(rows, chosen))]
            power = gram.diagonal().mean().clamp_min(1e-12)
            pull = self._ridge * power * torch.eye(columns, dtype=torch.float64)
            index = torch.tensor(chosen)
            after[index] = torch.linalg.solve(gram + pull, right + pull @ before[index].T).T
        self._weights[name] = after.float().numpy().reshape(self._weights[name].shape)

    def _target(self, node: Node, walker: _Walker, rows: NDArray[np.int64]) -> Tensor:
        """What the layer should give on its kept channels, before the scale and shift of the full network."""
        kept = torch.from_numpy(rows)
        axis = 1 if node.op == "Conv" else self._reference[node.output].ndim - 1
        affine = self._readers[node.output][0]
        residual = self._residual(affine, walker)
        if residual is None:
            return self._reference[node.output].index_select(axis, kept)
        table = self._original.tables[affine.attrs["table"]]
        scale = torch.from_numpy(np.where(np.abs(table.scale) > 1e-6, table.scale, 1.0)[rows].astype(np.float32))
        shift = torch.from_numpy(np.asarray(table.shift[rows], np.float32))
        wanted = self._reference[residual[0]].index_select(axis, kept) - residual[1]
        return (wanted - channel_view(shift, axis, wanted.ndim)) / channel_view(scale, axis, wanted.ndim)

    def _residual(self, affine: Node, walker: _Walker) -> tuple[str, Tensor] | None:
        """If only an Add reads the layer and its other operand is there: the Add's output, and that operand."""
        readers = self._readers[affine.output]
        if len(readers) != 1 or readers[0].op != "Add" or affine.output in self._original.outputs:
            return None
        addition = walker.nodes.get(readers[0].output)
        others = [name for name in addition.inputs if name != affine.output] if addition is not None else []
        value = walker.values.get(others[0]) if len(others) == 1 else None
        same = value is not None and value.ndim == len(self._original.shapes[affine.output])
        return (readers[0].output, value) if same and value is not None else None

    def _run(self, walker: _Walker, full_node: Node, node: Node) -> Tensor:
        inputs = [walker.values[name] for name in node.inputs]
        network = walker.subnetwork.network
        if node.op == "Affine" and node.output not in self._original.outputs:
            return self._refit(walker, full_node, inputs[0])
        weights = {name: self._weights[name][np.ix_(*walker.subnetwork.index[name])] for name in node.weights}
        tables = {node.attrs["table"]: network.tables[node.attrs["table"]]} if "table" in node.attrs else {}
        return apply(node, inputs, fixed_values(Network({}, {}, [], weights, tables, {})))

    def _refit(self, walker: _Walker, node: Node, x: Tensor) -> Tensor:
        """Regress what each channel should be on what it is; note its mean and deviation."""
        table, axis = node.attrs["table"], node.attrs["axis"]
        kept = torch.from_numpy(walker.subnetwork.tables[table])
        residual = self._residual(node, walker)
        wanted = self._reference[node.output].index_select(axis, kept)
        if residual is not None:
            wanted = self._reference[residual[0]].index_select(axis, kept) - residual[1]
        others = [other for other in range(x.ndim) if other != axis]
        if wanted.shape != x.shape:
            return self._as_it_was(walker, node, x)
        mean, goal = x.mean(others, keepdim=True), wanted.mean(others, keepdim=True)
        variance = ((x - mean) ** 2).mean(others, keepdim=True)
        covariance = ((x - mean) * (wanted - goal)).mean(others, keepdim=True)
        negative = torch.from_numpy(walker.subnetwork.network.tables[table].scale < 0)
        sign = channel_view(torch.where(negative, -1.0, 1.0), axis, x.ndim)
        # Another sign than the full network's would turn that of shared weights, for one network alone.
        gain = (sign * covariance / variance.clamp_min(1e-12)).clamp_min(0.0)
        deviation = (sign * gain * variance.sqrt()).flatten().double().numpy()
        walker.statistics[table] = Statistics(goal.flatten().double().numpy(), deviation)
        return (x - mean) * sign * gain + goal

    @staticmethod
    def _as_it_was(walker: _Walker, node: Node, x: Tensor) -> Tensor:
        """Scale and shift along one axis where another is cut: nothing to compare with, so they stay the full network's."""
        table, axis = walker.subnetwork.network.tables[node.attrs["table"]], node.attrs["axis"]
        scale, shift = (channel_view(torch.from_numpy(v), axis, x.ndim) for v in (table.scale, table.shift))
        y = x * scale + shift
        others = [other for other in range(x.ndim) if other != axis]
        mean, deviation = y.mean(others), x.std(others, correction=0) * torch.from_numpy(table.scale)
        walker.statistics[node.attrs["table"]] = Statistics(mean.double().numpy(), deviation.double().numpy())
        return y


def _alike(kept: Sequence[NDArray[np.int64]], outputs: int) -> dict[tuple[int, ...], list[int]]:
    """Group output channels by the networks that keep them: (numbers of networks) → channels, ascending."""
    found: dict[tuple[int, ...], list[int]] = {}
    sets = [set(rows.tolist()) for rows in kept]
    for channel in range(outputs):
        members = tuple(number for number, rows in enumerate(sets) if channel in rows)
        if members:
            found.setdefault(members, []).append(channel)
    return found


def _rows(node: Node, kernel: tuple[int, ...], x: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Return the layer's equations: inputs (positions, in · taps) and targets (positions, out), float64."""
    if node.op == "Linear":
        a, b = x.reshape(-1, x.shape[-1]), target.reshape(-1, target.shape[-1])
    else:
        a, b = _patches(node, kernel, x), target.movedim(1, -1).reshape(-1, target.shape[1])
    if len(a) > ROWS:
        chosen = torch.linspace(0, len(a) - 1, ROWS).long()
        a, b = a[chosen], b[chosen]
    return a.double(), b.double()


def _patches(node: Node, kernel: tuple[int, ...], x: Tensor) -> Tensor:
    """Unfold the input of a convolution: (samples · positions, in · taps)."""
    attrs, spatial = node.attrs, x.ndim - 2
    pads = attrs["pads"]
    x = F.pad(x, [pad for axis in reversed(range(spatial)) for pad in (pads[axis], pads[axis + spatial])])
    x, ones = (x, ()) if spatial == 2 else (x.unsqueeze(2), (1,))
    unfolded = F.unfold(x, (*ones, *kernel), (*ones, *attrs["dilations"]), 0, (*ones, *attrs["strides"]))
    return unfolded.transpose(1, 2).reshape(-1, unfolded.shape[1])
