"""The equations of one layer: least squares for the weights that all networks of a ladder share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from secateur.ir import Node

RIDGES = (0.03, 0.3, 3.0)
"""Pull towards the weights as they were, as a share of the mean power of an input."""
BLIND_RIDGE = 0.03
"""The pull if there are too few samples to hold some out."""
HELD_OUT = 4
"""Every so manyth part of the samples chooses the pull, or that the weights stay."""
ROWS, WORK = 1 << 16, 1 << 37
"""Most positions that a layer's equations are made of; most of positions × columns²."""


@dataclass
class Equations:
    """Normal equations of one network for a layer; each pair is of the samples that it is fitted to, and of those held out.

    Attributes:
        weight: what this network counts.
        columns: of the full network's weights (out, in · taps) that it reads.
        rows: output channels that it keeps.
    """

    weight: float
    columns: Tensor
    rows: NDArray[np.int64]
    counts: list[int] = field(default_factory=lambda: [0, 0])
    grams: list[Tensor] = field(default_factory=list)
    rights: list[Tensor] = field(default_factory=list)

    def add(self, part: int, inputs: Tensor, targets: Tensor) -> None:
        """Add a part of the samples: inputs (positions, in · taps) and targets (positions, out)."""
        if not self.grams:
            size, outputs = inputs.shape[1], targets.shape[1]
            self.grams = [torch.zeros(size, size, dtype=torch.float64) for _ in range(2)]
            self.rights = [torch.zeros(size, outputs, dtype=torch.float64) for _ in range(2)]
        a, b = inputs.double(), targets.double()
        held = int(part % HELD_OUT == HELD_OUT - 1)
        self.grams[held] += a.T @ a
        self.rights[held] += a.T @ b
        self.counts[held] += len(a)


def solve(before: Tensor, equations: Sequence[Equations]) -> Tensor:
    """Return the weights that serve all networks best, or where held-out samples know nothing better, those before.

    Args:
        before: the weights as they were, (out, in · taps), float64.
        equations: of each network.
    """
    after = before.clone()
    for members, chosen in _alike([each.rows for each in equations], len(before)).items():
        channels = torch.tensor(chosen)
        old = before[channels].T
        sums = [_summed([equations[number] for number in members], which, chosen, len(old)) for which in ([0], [1], [0, 1])]
        fitted, held, both = sums
        ridge: float | None = BLIND_RIDGE
        if all(equations[number].counts[1] for number in members):
            losses: dict[float | None, float] = {r: _loss(_ridge(*fitted, old, r), *held) for r in RIDGES}
            losses[None] = _loss(old, *held)
            ridge = min(losses, key=lambda r: losses[r])
        if ridge is not None:
            after[channels] = _ridge(*both, old, ridge).T
    return after


def _summed(
    members: Sequence[Equations], which: Sequence[int], chosen: Sequence[int], columns: int
) -> tuple[Tensor, Tensor]:
    gram = torch.zeros((columns, columns), dtype=torch.float64)
    right = torch.zeros((columns, len(chosen)), dtype=torch.float64)
    for each in members:
        share = each.weight / max(1, sum(each.counts[i] for i in which))
        place = each.columns
        rows = torch.from_numpy(np.searchsorted(each.rows, np.asarray(chosen)))
        for i in which:
            gram[place[:, None], place[None]] += share * each.grams[i]
            right[place] += share * each.rights[i][:, rows]
    return gram, right


def _ridge(gram: Tensor, right: Tensor, old: Tensor, ridge: float) -> Tensor:
    pull = ridge * float(gram.diagonal().mean().clamp_min(1e-12))
    pulled = gram.clone()
    pulled.diagonal().add_(pull)
    return torch.cholesky_solve(right + pull * old, torch.linalg.cholesky(pulled))


def _loss(weights: Tensor, gram: Tensor, right: Tensor) -> float:
    """The squared error of weights (columns, channels), but for what does not depend on them."""
    return float((weights * (gram @ weights - 2 * right)).sum())


def _alike(kept: Sequence[NDArray[np.int64]], outputs: int) -> dict[tuple[int, ...], list[int]]:
    """Group output channels by the networks that keep them: (numbers of networks) → channels, ascending."""
    found: dict[tuple[int, ...], list[int]] = {}
    sets = [set(rows.tolist()) for rows in kept]
    for channel in range(outputs):
        members = tuple(number for number, rows in enumerate(sets) if channel in rows)
        if members:
            found.setdefault(members, []).append(channel)
    return found


def positions(node: Node, kernel: tuple[int, ...], x: Tensor, target: Tensor, parts: int) -> tuple[Tensor, Tensor]:
    """Return inputs (positions, in · taps) and targets (positions, out) of a part of the samples.

    Args:
        node: the layer.
        kernel: of a convolution.
        x: input of the layer.
        target: what it should give.
        parts: how many there are; all of them together have at most `ROWS` positions.
    """
    if node.op == "Linear":
        a, b = x.reshape(-1, x.shape[-1]), target.reshape(-1, target.shape[-1])
    else:
        a, b = _patches(node, kernel, x), target.movedim(1, -1).reshape(-1, target.shape[1])
    most = max(1, min(ROWS, WORK // a.shape[1] ** 2) // parts)
    if len(a) > most:
        chosen = torch.linspace(0, len(a) - 1, most).long()
        a, b = a[chosen], b[chosen]
    return a, b


def _patches(node: Node, kernel: tuple[int, ...], x: Tensor) -> Tensor:
    """Unfold the input of a convolution: (samples · positions, in · taps)."""
    attrs, spatial = node.attrs, x.ndim - 2
    pads = attrs["pads"]
    if set(kernel) == {1} and set(attrs["strides"]) == {1} and not any(pads):
        return x.movedim(1, -1).reshape(-1, x.shape[1])
    x = F.pad(x, [pad for axis in reversed(range(spatial)) for pad in (pads[axis], pads[axis + spatial])])
    x, ones = (x, ()) if spatial == 2 else (x.unsqueeze(2), (1,))
    unfolded = F.unfold(x, (*ones, *kernel), (*ones, *attrs["dilations"]), 0, (*ones, *attrs["strides"]))
    return unfolded.transpose(1, 2).reshape(-1, unfolded.shape[1])
