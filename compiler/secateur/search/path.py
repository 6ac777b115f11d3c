"""From the full network to the smallest, one step of one group or block at a time: the cheapest loss per time saved.

Every point of the path is nested in the one before, so that any choice of points is a ladder.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from secateur.ir import Groups
from secateur.ir.groups import Keep
from secateur.search.sensitivity import Losses

LEAST_GAIN = 0.5
"""Kernels have cliffs: a width that saves less than this share of what an even slope would is passed over."""


@dataclass(frozen=True)
class Step:
    """A point of the path: keep-counts and their latency."""

    keep: dict[str, int]
    latency_ms: float


def shrink_path(
    groups: Groups,
    losses: Losses,
    latency_ms: Callable[[Keep], float],
    grid: int,
    smallest_share: float = 0.125,
    through: Sequence[Keep] = (),
) -> list[Step]:
    """Walk from the full network to the smallest.

    Args:
        groups: channel groups, sorted by importance.
        losses: group id → loss of keeping k channels, for k = 0 … n; block id → loss of keeping 0 and 1 of it, on the
            same scale: blocks that are not in it are never dropped.
        latency_ms: the latency of given keep-counts.
        grid: keep-counts are multiples of this, or the full size.
        smallest_share: of each group's channels at least this share is kept, and at least one grid step.
        through: nested keep-counts that the path passes on its way down, largest first.

    Returns:
        The path, from the full network on; latency falls strictly.
    """
    options = widths(groups, losses, grid, smallest_share)
    keep = groups.full()
    path = [Step(dict(keep), latency_ms(keep))]
    for stop in through:
        above = {key: [count for count in counts if count >= stop.get(key, 1)] for key, counts in options.items()}
        path = _walk(path, above, losses, latency_ms)
        arrival = Step(dict(stop), latency_ms(stop))
        while len(path) > 1 and path[-1].latency_ms <= arrival.latency_ms:  # a cliff: less work that takes longer
            path.pop()
        path.append(arrival)
    return _walk(path, options, losses, latency_ms)


def widths(groups: Groups, losses: Losses, grid: int, smallest_share: float = 0.125) -> dict[str, list[int]]:
    """Return what may be kept of each group, and of each block that may be dropped, ascending; as `shrink_path` has it."""
    options = {g.id: _options(g.size, grid, smallest_share) for g in groups.groups}
    return options | {block.id: [0, 1] for block in groups.blocks if block.id in losses}


def _walk(
    path: list[Step], options: Mapping[str, list[int]], losses: Losses, latency_ms: Callable[[Keep], float]
) -> list[Step]:
    """Go on from the end of a path until nothing that the options allow saves time."""
    path, keep = list(path), dict(path[-1].keep)
    while (best := _cheapest(keep, options, losses, latency_ms)) is not None:
        group, count = best
        # What is gained may lie several steps ahead; points on the way belong to the path, but for those above a cliff.
        start, begin_ms, end_ms = keep[group], latency_ms(keep), latency_ms({**keep, group: count})
        for smaller in sorted((k for k in options[group] if count <= k < start), reverse=True):
            keep = {**keep, group: smaller}
            latency = latency_ms(keep)
            even_ms = (begin_ms - end_ms) * (start - smaller) / (start - count)
            if latency < path[-1].latency_ms and (smaller == count or begin_ms - latency >= LEAST_GAIN * even_ms):
                path.append(Step(dict(keep), latency))
    return path


def _cheapest(
    keep: Mapping[str, int], options: Mapping[str, list[int]], losses: Losses, latency_ms: Callable[[Keep], float]
) -> tuple[str, int] | None:
    """Return the group and its new count that lose least per time saved, or None if nothing saves time."""
    now_ms = latency_ms(keep)
    best: tuple[float, str, int] | None = None
    for group, counts in options.items():
        for count in counts:
            if count >= keep[group]:
                continue
            saved_ms = now_ms - latency_ms({**keep, group: count})
            if saved_ms <= 0:
                continue
            rate = (losses[group][count] - losses[group][keep[group]]) / saved_ms
            # Of equally good steps the smallest: the path is to have many points.
            if best is None or (rate, group, -count) < best:
                best = (rate, group, -count)
    return None if best is None else (best[1], -best[2])


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
