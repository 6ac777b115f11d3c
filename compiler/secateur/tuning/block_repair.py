"""Repair of a network without some of its blocks: scales and shifts behind the gap are fitted to the full network.

Wang, Wu: Practical Network Acceleration with Tiny Sets, CVPR 2023 (they put layers of their own behind the gap; here the
private tables that are there anyway do it, so that nothing is added). Each table in turn is fitted by least squares, per
channel, on what the repaired network before it computes. A table whose output is added to a residual stream is fitted to
what is missing from the full network's stream there: so the next branch makes up for the one that is gone.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from secateur.ir import Groups, Network, Node, Table
from secateur.ir.groups import Keep
from secateur.twin import Values, fixed_values, run
from secateur.twin.execute import channel_view

_BATCH = 32
_FLOOR = 1e-12


class _Regression:
    """Least squares per channel of ``target ≈ scale · x + shift``, over the batches seen so far.

    Scales behind a weight are not negative: the signs are in the weight, which all rungs share.
    """

    def __init__(self, fallback: Table, signed: bool) -> None:
        self._least = -math.inf if signed else 0.0
        self._fallback = torch.tensor(fallback.scale, dtype=torch.float64)
        self._sums = torch.zeros((4, len(fallback.scale)), dtype=torch.float64)
        self._count = 0

    def add(self, x: Tensor, target: Tensor, axis: int) -> None:
        """Add a batch; both tensors have the channels on ``axis``."""
        others = [each for each in range(x.ndim) if each != axis]
        parts = (x, target, x * x, x * target)
        self._sums += torch.stack([part.sum(others, dtype=torch.float64) for part in parts])
        self._count += x.numel() // x.shape[axis]

    def fit(self) -> tuple[Tensor, Tensor]:
        """Return scale and shift, float64 (channels,); a channel that does not vary keeps its scale."""
        mean, wanted, square, product = self._sums / self._count
        variance = square - mean**2
        slope = ((product - mean * wanted) / variance.clamp_min(_FLOOR)).clamp_min(self._least)
        scale = torch.where(variance > _FLOOR, slope, self._fallback)
        return scale, wanted - scale * mean


class _Repairing:
    """Values of a cut network that fit each table, when the network comes to it, to the full network's tensors."""

    def __init__(self, network: Network, fixed: set[str]) -> None:
        self._own = fixed_values(network)
        self._fixed = fixed
        behind = {node.output for node in network.nodes if "weight" in node.attrs}
        nodes = {node.attrs["table"]: node for node in network.nodes if node.op == "Affine"}
        self.regressions = {
            name: _Regression(network.tables[name], node.inputs[0] not in behind)
            for name, node in nodes.items()
            if name not in fixed
        }
        self._sum_of = _sums(network)
        self.full: dict[str, Tensor] = {}
        self.live: dict[str, Tensor] = {}

    def weight(self, name: str) -> Tensor:
        return self._own.weight(name)

    def affine(self, node: Node, x: Tensor) -> Tensor:
        table, axis = node.attrs["table"], node.attrs["axis"]
        if table in self._fixed:
            return self._own.affine(node, x)
        total, other = self._sum_of.get(node.output, ("", ""))
        target = self.full[total] - self.live[other] if other in self.live else self.full[node.output]
        self.regressions[table].add(x, target, axis)
        scale, shift = (channel_view(each.to(x.dtype), axis, x.ndim) for each in self.regressions[table].fit())
        return x * scale + shift


def _sums(network: Network) -> dict[str, tuple[str, str]]:
    """Output of a table that is read by an addition alone → the sum and the other operand."""
    readers, found = network.consumers(), {}
    for node in network.nodes:
        behind = readers[node.output] if node.op == "Affine" and node.output not in network.outputs else []
        if len(behind) == 1 and behind[0].op == "Add" and len(set(behind[0].inputs)) == 2:
            other = next(name for name in behind[0].inputs if name != node.output)
            found[node.output] = (behind[0].output, other)
    return found


def repair(
    network: Network, reference: Network, groups: Groups, keep: Keep, inputs: NDArray[np.float32]
) -> dict[str, Table]:
    """Fit the private tables of a cut network to the full one.

    Args:
        network: ``reference`` cut at ``keep``; its tables are what channels that do not vary fall back to.
        reference: the full network.
        groups: its channel groups and blocks.
        keep: keep-counts.
        inputs: calibration inputs, (samples, …); no labels needed.

    Returns:
        Table → new private values. That of the network's output stays, and so do those that nothing has changed before.
    """
    changed = _changed(network, reference)
    affine = [node for node in network.nodes if node.op == "Affine" and node.output in changed - set(network.outputs)]
    fitted = _Repairing(network, set(network.tables) - {node.attrs["table"] for node in affine})
    sums = _sums(network)
    wanted = {node.output for node in affine} | {sums[node.output][0] for node in affine if node.output in sums}
    operands = {other for _, other in sums.values()}
    feed, whole = next(iter(network.inputs)), fixed_values(reference)

    def note(name: str, value: Tensor) -> None:
        if name in operands:
            fitted.live[name] = value

    values: Values = fitted
    with torch.no_grad():
        for start in range(0, len(inputs), _BATCH):
            batch = torch.from_numpy(np.ascontiguousarray(inputs[start : start + _BATCH]))
            fitted.live = {}
            full = run(reference, {feed: batch}, whole, wanted=wanted)
            fitted.full = {name: _select(value, groups, name, keep) for name, value in full.items()}
            run(network, {feed: batch}, values, on_tensor=note)
    found = {name: regression.fit() for name, regression in fitted.regressions.items()}
    tables = {
        n: Table(scale.numpy().astype(np.float32), shift.numpy().astype(np.float32)) for n, (scale, shift) in found.items()
    }
    return {**network.tables, **tables}


def _changed(network: Network, reference: Network) -> set[str]:
    """The tensors of a cut network that are not just the full one's: a node, or something before it, is another."""
    before = reference.producers()
    found: set[str] = set()
    for node in network.nodes:
        same = node.inputs == before[node.output].inputs and not found.intersection(node.inputs)
        same &= network.shapes[node.output] == reference.shapes[node.output]
        same &= all(network.weights[name].shape == reference.weights[name].shape for name in node.weights)
        if same and node.op == "Affine":
            mine, full = network.tables[node.attrs["table"]], reference.tables[node.attrs["table"]]
            same = np.array_equal(mine.scale, full.scale) and np.array_equal(mine.shift, full.shift)
        if not same:
            found.add(node.output)
    return found


def _select(value: Tensor, groups: Groups, name: str, keep: Keep) -> Tensor:
    for axis in range(1, value.ndim):
        left = groups.kept((f"tensor:{name}", axis), value.shape[axis], keep)
        if len(left) < value.shape[axis]:
            value = value.index_select(axis, torch.as_tensor(left))
    return value
