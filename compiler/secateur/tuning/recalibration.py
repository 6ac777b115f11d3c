"""Recalibration: give every channel of a cut network the mean and deviation that it has in the full one.

For a convolution with batch norm this is batch-norm recalibration (Li et al., EagleEye, ECCV 2020); it needs no labels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from secateur.ir import Network, Node, Samples, Table
from secateur.twin import batches, fixed_values, run, split
from secateur.twin.execute import channel_view, run_together

TOGETHER = 1 << 27
"""Elements of a network's largest tensor that batches normalised together may have: half a gigabyte."""
_FLOOR = 1e-6


@dataclass(frozen=True)
class Statistics:
    """Mean and standard deviation per channel of what an ``Affine`` node gives, float64, shape (channels,).

    Where the node's scale is negative so is the deviation, for normalising would forget that sign. It can be where the node
    does not follow a weight (a batch norm of a residual stream); elsewhere the normal form has signs in the weight.
    """

    mean: NDArray[np.float64]
    deviation: NDArray[np.float64]


class _Moments:
    """First and second moments per channel, summed over batches."""

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}

    def add(self, table: str, parts: Sequence[Tensor], axis: int) -> Statistics:
        """Add batches; return their own mean and deviation."""
        own: list[Tensor] = []
        for x in parts:
            # As `torch.var_mean` has it, which takes six times as long.
            rows = x.movedim(axis, 1).reshape(len(x), x.shape[axis], -1)
            mean = rows.mean(2, keepdim=True)
            around = torch.linalg.vector_norm(rows - mean, dim=2).double().square().sum(0)
            means, count = mean[:, :, 0].double(), rows.shape[2]
            second = around + count * means.square().sum(0)
            own.append(torch.stack([torch.full_like(second, len(x) * count), count * means.sum(0), second]))
        found = torch.stack(own).sum(0)
        before = self._sums.get(table)
        self._sums[table] = found if before is None else before + found
        return _statistics(found)

    def statistics(self) -> dict[str, Statistics]:
        return {table: _statistics(sums) for table, sums in self._sums.items()}


def _statistics(sums: Tensor) -> Statistics:
    count, first, second = sums
    mean = first / count
    return Statistics(mean.numpy(), (second / count - mean**2).clamp_min(0).sqrt().numpy())


def measure_statistics(network: Network, inputs: Samples) -> dict[str, Statistics]:
    """Measure what every ``Affine`` node of the full network gives.

    Args:
        network: the full network.
        inputs: calibration inputs, (samples, …); no labels needed.

    Returns:
        Table → statistics of the node's output.
    """
    moments = _Moments()
    nodes = {node.output: node for node in network.nodes if node.op == "Affine"}

    def observe(name: str, value: Tensor) -> None:
        if name in nodes:
            moments.add(nodes[name].attrs["table"], [value], nodes[name].attrs["axis"])

    values = fixed_values(network)
    with torch.no_grad():
        for batch in batches(network, inputs):
            run(network, batch, values, on_tensor=observe)
    signs = {name: np.where(table.scale < 0, -1.0, 1.0) for name, table in network.tables.items()}
    return {name: Statistics(s.mean, signs[name] * s.deviation) for name, s in moments.statistics().items()}


class _Recalibrating:
    """Values of a cut network that normalise each batch to the target statistics and remember what they normalised.

    Tables that are named in ``skip`` stay as they are.
    """

    def __init__(self, network: Network, targets: Mapping[str, Statistics], skip: AbstractSet[str]) -> None:
        self._fixed = fixed_values(network)
        self._targets, self._skip = targets, skip
        self._tables = network.tables
        self._moments = _Moments()

    def weight(self, name: str) -> Tensor:
        return self._fixed.weight(name)

    def affine(self, node: Node, x: Tensor) -> Tensor:
        return self.affine_together(node, [x])[0]

    def affine_together(self, node: Node, parts: Sequence[Tensor]) -> list[Tensor]:
        table, axis = node.attrs["table"], node.attrs["axis"]
        if table in self._skip:
            return [self._fixed.affine(node, x) for x in parts]
        found = fold(self._moments.add(table, parts, axis), self._targets[table], self._tables[table])
        scale, shift = torch.from_numpy(found.scale), torch.from_numpy(found.shift)
        return [x * channel_view(scale, axis, x.ndim) + channel_view(shift, axis, x.ndim) for x in parts]

    def tables(self) -> dict[str, Table]:
        """Return the tables that give the target statistics to what was seen."""
        seen = self._moments.statistics()
        return {table: fold(found, self._targets[table], self._tables[table]) for table, found in seen.items()}


def fold(before: Statistics, target: Statistics, fallback: Table) -> Table:
    """Return the table that brings channels with statistics ``before`` to ``target``; a dead channel keeps its scale."""
    alive = (before.deviation > _FLOOR) & (np.abs(target.deviation) > _FLOOR * 1e-2)
    scale = np.where(alive, target.deviation / np.maximum(before.deviation, _FLOOR), fallback.scale)
    shift = target.mean - scale * before.mean
    return Table(scale.astype(np.float32), shift.astype(np.float32))


def recalibrate(
    network: Network, targets: Mapping[str, Statistics], inputs: Samples, keep_output: bool = True
) -> dict[str, Table]:
    """Recalibrate a cut network.

    Args:
        network: the cut network; its tables are what dead channels fall back to.
        targets: table → statistics that its node's output should have, cut to the network's channels.
        inputs: calibration inputs, (samples, …).
        keep_output: leave the table of the network's output as it is.

    Returns:
        Table → new private values.
    """
    values = _values(network, targets, keep_output)
    with torch.no_grad():
        for together in split(network, inputs, TOGETHER):
            run_together(network, list(batches(network, together)), values)
    return {**network.tables, **values.tables()}


def recalibrated_outputs(network: Network, targets: Mapping[str, Statistics], inputs: Samples) -> dict[str, Tensor]:
    """Return what a cut network gives after recalibration on the very samples that it is given, in a single pass.

    Args:
        network: the cut network.
        targets: as for `recalibrate`.
        inputs: (samples, …), few enough to be normalised together.
    """
    with torch.no_grad():
        parts = run_together(network, list(batches(network, inputs)), _values(network, targets, True))
    return {name: torch.cat([part[name] for part in parts]) for name in network.outputs}


def _values(network: Network, targets: Mapping[str, Statistics], keep_output: bool) -> _Recalibrating:
    skip = {
        node.attrs["table"]
        for node in network.nodes
        if keep_output and node.output in network.outputs and node.op == "Affine"
    }
    return _Recalibrating(network, targets, skip)
