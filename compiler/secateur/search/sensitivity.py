"""What cutting costs, measured: each channel group is cut by itself and the outputs are compared with the full network's.

Han, Pool, Tran, Dally: Learning both Weights and Connections, NeurIPS 2015 (sensitivity by layer); here after recalibration,
and in distance of outputs, so that no labels are needed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from secateur.ir import Groups
from secateur.ir.groups import Keep

SHARES = (0.75, 0.5, 0.25, 0.125)
"""Shares of a group that are tried; between them the loss is interpolated."""

Losses = Mapping[str, NDArray[np.float64]]
"""Group id → loss of keeping k of its channels, for k = 0 … n; not increasing in k, 0 for n."""


def measured_losses(
    groups: Groups,
    distance: Callable[[Keep], float],
    on_group: Callable[[int, int], None] | None = None,
) -> dict[str, NDArray[np.float64]]:
    """Measure the loss of cutting each group.

    Args:
        groups: channel groups of the sorted network.
        distance: from keep-counts to the distance of the cut and recalibrated network's outputs.
        on_group: told how many groups are done, of how many.

    Returns:
        Losses; between measured points linear, and beyond the smallest one rising in proportion to what is cut.
    """
    found: dict[str, NDArray[np.float64]] = {}
    full = groups.full()
    for number, group in enumerate(groups.groups):
        counts = sorted({max(1, round(group.size * share)) for share in SHARES} - {group.size}, reverse=True)
        worst = 0.0
        points = [(group.size, 0.0)]
        for count in counts:
            worst = max(worst, distance({**full, group.id: count}))
            points.append((count, worst))
        kept, loss = zip(*reversed(points))
        values = np.interp(np.arange(group.size + 1), kept, loss)
        if len(points) > 2:
            slope = (loss[0] - loss[1]) / (kept[1] - kept[0])
            below = np.arange(kept[0])
            values[: kept[0]] = loss[0] + slope * (kept[0] - below)
        found[group.id] = values
        if on_group is not None:
            on_group(number + 1, len(groups.groups))
    return found


def importance_losses(groups: Groups, scores: Mapping[str, NDArray[np.float64]]) -> dict[str, NDArray[np.float64]]:
    """Estimate losses from scores alone: −log of the share of squared importance kept, once per layer of the group.

    Args:
        groups: channel groups, sorted by importance.
        scores: group id → importance per channel in that order.
    """
    found = {}
    for group in groups.groups:
        makers = sum(1 for name, axis in group.members if name.startswith("weight:") and axis == 0)
        energy = np.concatenate([[0.0], np.cumsum(np.asarray(scores[group.id], np.float64) ** 2 + 1e-12)])
        with np.errstate(divide="ignore"):
            found[group.id] = -np.log(energy / energy[-1]) * makers
    return found
