"""Improves planned rungs by exchange: what one group gives up, another gets, as long as the network does not get dearer.

The path to which rungs belong is walked one group at a time and never turns back; where kernels have cliffs, so that two
groups save time only together, it cuts deeper than it must. The losses of all groups, measured one by one, are added here as
there. Chin, Ding, Zhang, Marculescu: Towards Efficient Model Compression via Learned Global Ranking, CVPR 2020, also plan by
sums of what filters lose by themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from secateur.ir.groups import Keep
from secateur.search.sensitivity import Losses

LEAST = 1e-9
"""A gain below this is rounding."""


def exchange(
    rungs: Sequence[Keep],
    options: Mapping[str, Sequence[int]],
    losses: Losses,
    cost: Callable[[Keep], float],
    size: Callable[[Keep], float],
    allowed: Callable[[int, Keep], bool] = lambda number, keep: True,
) -> list[dict[str, int]]:
    """Return better rungs, each between the one before and the next planned one, none dearer than planned.

    Args:
        rungs: planned keep-counts, nested, the full network first; the full network stays.
        options: group or block → counts that it may have.
        losses: group or block → loss of keeping k of its channels.
        cost: what a network of a rung may have no more of than the planned one: its latency.
        size: parameters of a network; a group that does not change it lies in a block that is dropped, and is left alone.
        allowed: whether keep-counts may stand for a rung (by its number): whether they meet the budgets.
    """
    found = [dict(rungs[0])]
    for number, planned in enumerate(rungs[1:], 1):
        above, below = found[-1], rungs[number + 1] if number + 1 < len(rungs) else {}
        most = cost(planned) * (1 + LEAST)

        def fits(keep: Keep, number: int = number, most: float = most) -> bool:
            return cost(keep) <= most and allowed(number, keep)

        inside = {
            key: [count for count in counts if below.get(key, 0) <= count <= above[key]] for key, counts in options.items()
        }
        found.append(_climb(dict(planned), inside, losses, size, fits))
    return found


def _climb(
    keep: dict[str, int],
    options: Mapping[str, Sequence[int]],
    losses: Losses,
    size: Callable[[Keep], float],
    fits: Callable[[Keep], bool],
) -> dict[str, int]:
    """Take the best move until there is none."""
    while True:
        move, best = {}, -LEAST
        for up, counts in options.items():
            if not counts or size({**keep, up: counts[0]}) == size({**keep, up: counts[-1]}):
                continue
            for more in (count for count in counts if count > keep[up]):
                gain = losses[up][more] - losses[up][keep[up]]
                if gain >= best and gain > -LEAST:
                    continue
                if fits({**keep, up: more}):
                    if gain < best:
                        move, best = {up: more}, gain
                    continue
                for down, lower in options.items():
                    for less in sorted((count for count in lower if count < keep[down] and down != up), reverse=True):
                        change = gain + losses[down][less] - losses[down][keep[down]]
                        if change >= best:
                            break
                        if fits({**keep, up: more, down: less}):
                            move, best = {up: more, down: less}, change
                            break
        if not move:
            return keep
        keep = {**keep, **move}
