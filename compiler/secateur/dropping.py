"""Networks without some of their blocks: how they are repaired, and what each block is worth to the search."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch
from numpy.typing import NDArray

from secateur.criteria.blocks import BlockEvidence, score_blocks
from secateur.ir import Groups, Network
from secateur.ir.groups import Keep
from secateur.pruning import cut
from secateur.tuning import Statistics, measure_statistics, recalibrate, repair
from secateur.twin import fixed_values, run

Array = NDArray[np.float32]

SAMPLES = 256
"""Repair takes no more calibration samples: it fits two values per channel."""

SAMPLES_TO_SCORE = 64
"""For the order of blocks fewer will do: each block is dropped and repaired in turn."""

LARGEST_SHARE = 0.999
"""What is lost with a block counts as no more than this share, so that its loss is finite."""


def cut_statistics(groups: Groups, keep: Keep, statistics: Mapping[str, Statistics]) -> dict[str, Statistics]:
    """Return the statistics of the channels that are kept.

    Args:
        groups: channel groups.
        keep: keep-counts.
        statistics: table of the full network → statistics of all of its channels.
    """
    return {
        name: Statistics(*(v[groups.kept((f"table:{name}", 0), len(v), keep)] for v in (goal.mean, goal.deviation)))
        for name, goal in statistics.items()
    }


def repaired(network: Network, groups: Groups, keep: Keep, statistics: Mapping[str, Statistics], inputs: Array) -> Network:
    """Cut a network and repair its private tables.

    Once it is recalibrated, once fitted to the full network's residual streams; what is nearer at the output is taken:
    where a channel is hardly correlated with its original, least squares makes it weak, and recalibration does not.

    Args:
        network: the full network.
        groups: its channel groups and blocks.
        keep: keep-counts.
        statistics: of the full network, from `measure_statistics`.
        inputs: calibration inputs, (samples, …).
    """
    inputs = inputs[:SAMPLES]
    small = cut(network, groups, keep)
    calibrated = small.with_values(tables=recalibrate(small, cut_statistics(groups, keep, statistics), inputs))
    fitted = small.with_values(tables=repair(small, network, groups, keep, inputs))
    original = _outputs(network, inputs)
    return min(calibrated, fitted, key=lambda candidate: float(((_outputs(candidate, inputs) - original) ** 2).sum()))


def block_losses(
    network: Network, groups: Groups, criterion: str, inputs: Array, distance: Callable[[Keep], float]
) -> dict[str, NDArray[np.float64]]:
    """Return block id → loss of keeping 0 and 1 of it.

    The criterion ranks the blocks; the scale is that of the measured distances, so that blocks compare with channels.

    Args:
        network: the full network.
        groups: its channel groups and blocks.
        criterion: name of a criterion for blocks.
        inputs: calibration inputs, (samples, …).
        distance: from keep-counts to the distance of the outputs from the full network's.

    Raises:
        SecateurError: if there is no such criterion.
    """
    inputs = inputs[:SAMPLES_TO_SCORE]
    statistics = measure_statistics(network, inputs)

    def without(block: str) -> Network:
        return repaired(network, groups, groups.full() | {block: 0}, statistics, inputs)

    scores = score_blocks(criterion, BlockEvidence(network, groups, inputs, without))
    lost = {block: -np.log(1 - min(score, LARGEST_SHARE)) for block, score in scores.items()}
    measured = sum(distance(groups.full() | {block: 0}) for block in lost)
    scale = measured / max(sum(lost.values()), 1e-12)
    return {block: np.asarray([scale * value, 0.0]) for block, value in lost.items()}


def _outputs(network: Network, inputs: Array) -> torch.Tensor:
    feed, values = next(iter(network.inputs)), fixed_values(network)
    with torch.no_grad():
        parts = [
            next(iter(run(network, {feed: torch.from_numpy(inputs[start : start + 64])}, values).values()))
            for start in range(0, len(inputs), 64)
        ]
    return torch.cat(parts).double()
