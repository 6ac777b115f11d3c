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
from secateur.tuning.moments import Moments
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


def measure_statistics(network: Network, inputs: Samples) -> dict[str, Statistics]:
    """Measure what every ``Affine`` node of the full network gives.

    Args:
        network: the full network.
        inputs: calibration inputs, (samples, …); no labels needed.

    Returns:
        Table → statistics of the node's output.
    """
    moments: dict[str, Moments] = {}
    nodes = {node.output: node for node in network.nodes if node.op == "Affine"}

    def observe(name: str, value: Tensor) -> None:
        if name in nodes:
            attrs = nodes[name].attrs
            moments.setdefault(attrs["table"], Moments()).add(value, attrs["axis"])

    values = fixed_values(network)
    with torch.no_grad():
        for batch in batches(network, inputs):
            run(network, batch, values, on_tensor=observe)
    signs = {name: np.where(table.scale < 0, -1.0, 1.0) for name, table in network.tables.items()}
    return {name: _statistics(found, signs[name]) for name, found in moments.items()}


def _statistics(moments: Moments, sign: NDArray[np.float64] | float = 1.0) -> Statistics:
    return Statistics(moments.mean.numpy(), sign * moments.variance.sqrt().numpy())


class _Recalibrating:
    """Values of a cut network that normalise each batch to the target statistics and remember what they normalised.

    Tables that are named in ``skip`` stay as they are.
    """

    def __init__(self, network: Network, targets: Mapping[str, Statistics], skip: AbstractSet[str]) -> None:
        self._fixed = fixed_values(network)
        self._targets, self._skip = targets, skip
        self._tables = network.tables
        self._moments: dict[str, Moments] = {}

    def weight(self, name: str) -> Tensor:
        return self._fixed.weight(name)

    def affine(self, node: Node, x: Tensor) -> Tensor:
        return self.affine_together(node, [x])[0]

    def affine_together(self, node: Node, parts: Sequence[Tensor]) -> list[Tensor]:
        table, axis = node.attrs["table"], node.attrs["axis"]
        if table in self._skip:
            return [self._fixed.affine(node, x) for x in parts]
        own = Moments()
        for x in parts:
            own.add(x, axis)
        self._moments.setdefault(table, Moments()).merge(own)
        found = fold(_statistics(own), self._targets[table], self._tables[table])
        scale, shift = torch.from_numpy(found.scale), torch.from_numpy(found.shift)
        return [x * channel_view(scale, axis, x.ndim) + channel_view(shift, axis, x.ndim) for x in parts]

    def tables(self) -> dict[str, Table]:
        """Return the tables that give the target statistics to what was seen."""
        return {
            table: fold(_statistics(found), self._targets[table], self._tables[table])
            for table, found in self._moments.items()
        }


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
