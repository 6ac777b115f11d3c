"""Refines planned rungs by evolution: other widths that cost no more, chosen by what the whole network then computes.

The path that rungs are planned on adds up what cutting each group *by itself* loses. Here whole networks are judged: each is
cut, recalibrated and compared with the full one. Real, Aggarwal, Huang, Le: Regularized Evolution for Image Classifier
Architecture Search, AAAI 2019 (tournament, mutation, the oldest dies); Cai et al.: Once-for-All, ICLR 2020 (evolution over
the widths of a network whose weights are shared). New here: the rungs are bounded by their neighbours, so that every result
is a ladder.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from secateur.ir.groups import Keep, KeepKey, keep_key

POPULATION, TOURNAMENT = 12, 3
PATIENCE = 64
"""Children that are drawn for one rung before it is passed over: most are too dear, not nested, or known already."""


@dataclass
class _Rung:
    """One rung on its way: what it may cost, and the networks that live, oldest first, with their distances."""

    most: float
    alive: list[tuple[dict[str, int], float]]
    best: tuple[dict[str, int], float]
    seen: set[KeepKey] = field(default_factory=set)


def evolve(
    rungs: Sequence[Keep],
    options: Mapping[str, Sequence[int]],
    cost: Callable[[Keep], float],
    distance: Callable[[Keep], float],
    allowed: Callable[[int, Keep], bool],
    go_on: Callable[[], bool],
    seed: int = 0,
) -> list[dict[str, int]]:
    """Look for better networks than the planned ones.

    Args:
        rungs: planned keep-counts, nested, the full network first; the full network stays.
        options: group or block → counts that it may have.
        cost: what a network of a rung may have no more of than the planned one: its latency.
        distance: from the full network's outputs; less is better.
        allowed: whether keep-counts may stand for a rung (by its number): whether they meet the budgets.
        go_on: asked before each trial.
        seed: of all draws; the result depends on nothing else but on when ``go_on`` says no.

    Returns:
        Keep-counts of each rung: nested, none dearer or further from the full network than planned.
    """
    rng = np.random.default_rng(seed)
    full = dict(rungs[0])
    states = []
    for keep in rungs[1:]:
        if not go_on():
            return [dict(each) for each in rungs]
        start = (dict(keep), distance(keep))
        states.append(_Rung(cost(keep), [start], start, {keep_key(keep)}))
    idle = 0
    while states and idle < len(states):
        idle = 0
        for number, state in enumerate(states):
            if not go_on():
                return [full, *(state.best[0] for state in states)]
            above = states[number - 1].best[0] if number else full
            below = states[number + 1].best[0] if number + 1 < len(states) else None
            fits = partial(_fits, above, below, partial(allowed, number + 1))
            child = _child(state, options, cost, rng, fits)
            if child is None:
                idle += 1
                continue
            found = (child, distance(child))
            state.alive.append(found)
            if found[1] < state.best[1]:
                state.best = found
            if len(state.alive) > POPULATION:
                state.alive.pop(0)
    return [full, *(state.best[0] for state in states)]


def _child(
    state: _Rung,
    options: Mapping[str, Sequence[int]],
    cost: Callable[[Keep], float],
    rng: np.random.Generator,
    fits: Callable[[Keep], bool],
) -> dict[str, int] | None:
    for _ in range(PATIENCE):
        # The best always takes part: with a short budget this is a hill climb, with a long one it looks around.
        parents = [state.alive[int(i)] for i in rng.integers(0, len(state.alive), TOURNAMENT - 1)] + [state.best]
        child = dict(min(parents, key=lambda each: each[1])[0])
        if len(state.alive) > 1 and rng.random() < 0.25:
            other = state.alive[int(rng.integers(len(state.alive)))][0]
            child = {key: other[key] if key in options and rng.random() < 0.5 else value for key, value in child.items()}
        _mutate(child, options, rng)
        key = keep_key(child)
        if key in state.seen or not fits(child) or cost(child) > state.most * (1 + 1e-9):
            continue
        state.seen.add(key)
        return child
    return None


def _mutate(keep: dict[str, int], options: Mapping[str, Sequence[int]], rng: np.random.Generator) -> None:
    """Take a step or two down in one group, and up in another: what one saves, the other may spend."""
    names = list(options)
    for direction in (-1, 1):
        name = names[int(rng.integers(len(names)))]
        counts = sorted(options[name])
        place = counts.index(keep[name]) + direction * int(rng.integers(1, 3))
        keep[name] = counts[min(max(place, 0), len(counts) - 1)]


def _fits(above: Keep, below: Keep | None, allowed: Callable[[Keep], bool], keep: Keep) -> bool:
    """Whether keep-counts lie between the neighbouring rungs' and may stand for their own."""
    inside = all(count <= above.get(key, count) for key, count in keep.items())
    inside = inside and (below is None or all(keep.get(key, count) >= count for key, count in below.items()))
    return inside and allowed(keep)


def front(points: Sequence[tuple[float, float]]) -> list[int]:
    """Return the numbers of the points (cost, distance) that no other beats in both, by rising cost."""
    found: list[int] = []
    for index in sorted(range(len(points)), key=lambda i: points[i]):
        if not found or points[index][1] < points[found[-1]][1]:
            found.append(index)
    return found
