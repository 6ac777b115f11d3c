"""From the full network to the smallest, one step of one group or block at a time: the cheapest loss per time saved.

Every point of the path is nested in the one before, so that any choice of points is a ladder.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from secateur.ir import Groups
from secateur.ir.groups import Keep


@dataclass(frozen=True)
class Step:
    """A point of the path: keep-counts and their latency."""

    keep: dict[str, int]
    latency_ms: float


def shrink_path(
    groups: Groups,
    scores: Mapping[str, NDArray[np.float64]],
    latency_ms: Callable[[Keep], float],
    grid: int,
    smallest_share: float = 0.125,
    block_loss: Mapping[str, NDArray[np.float64]] | None = None,
) -> list[Step]:
    """Walk from the full network to the smallest.

    Args:
        groups: channel groups, sorted by importance.
        scores: group id → importance per channel in that order.
        latency_ms: the latency of given keep-counts.
        grid: keep-counts are multiples of this, or the full size.
        smallest_share: of each group's channels at least this share is kept, and at least one grid step.
        block_loss: block id → loss of keeping 0 and 1 of it, on the scale of the groups'; other blocks are never dropped.

    Returns:
        The path, from the full network on; latency falls strictly.
    """
    droppable = dict(block_loss or {})
    options = {g.id: _options(g.size, grid, smallest_share) for g in groups.groups} | {key: [0, 1] for key in droppable}
    loss = {g.id: _loss(scores[g.id], _makers(g.members)) for g in groups.groups} | droppable
    keep = groups.full()
    path = [Step(dict(keep), latency_ms(keep))]
    while True:
        best: tuple[float, str, int, float] | None = None
        for key, counts in options.items():
            smaller = [k for k in counts if k < keep[key]]
            if not smaller:
                continue
            trial = {**keep, key: smaller[-1]}
            latency = latency_ms(trial)
            saved = path[-1].latency_ms - latency
            if saved <= 0:
                continue
            rate = (loss[key][smaller[-1]] - loss[key][keep[key]]) / saved
            if best is None or rate < best[0]:
                best = (rate, key, smaller[-1], latency)
        if best is None:
            return path
        keep = {**keep, best[1]: best[2]}
        path.append(Step(dict(keep), best[3]))


def price(path: Sequence[Step], latency_ms: Callable[[Keep], float]) -> list[Step]:
    """Return the same path with another latency; points that are not faster than the one before are left out.

    Args:
        path: nested keep-counts.
        latency_ms: the latency of given keep-counts.
    """
    priced: list[Step] = []
    for step in path:
        latency = latency_ms(step.keep)
        if not priced or latency < priced[-1].latency_ms:
            priced.append(Step(step.keep, latency))
    return priced


def _options(size: int, grid: int, smallest_share: float) -> list[int]:
    least = max(1, int(np.ceil(size * smallest_share)))
    multiples = [k for k in range(grid, size, grid) if k >= least]
    if not multiples and size > 1:
        multiples = [k for k in (size // 2,) if k >= least]
    return [*multiples, size]


def _makers(members: Mapping[tuple[str, int], object]) -> int:
    return sum(1 for name, axis in members if name.startswith("weight:") and axis == 0)


def _loss(scores: NDArray[np.float64], makers: int) -> NDArray[np.float64]:
    """Loss of keeping k channels, for k = 0 … n: −log of the share of squared importance kept, once per layer."""
    energy = np.concatenate([[0.0], np.cumsum(np.asarray(scores, np.float64) ** 2 + 1e-12)])
    with np.errstate(divide="ignore"):
        loss: NDArray[np.float64] = -np.log(energy / energy[-1]) * makers
    return loss
