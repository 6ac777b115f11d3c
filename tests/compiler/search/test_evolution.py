"""Evolution finds better networks at no more cost, and what it returns is still a ladder."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import pairwise

import pytest

from secateur.search.evolution import evolve, front

OPTIONS = {f"g{i}": tuple(range(2, 17, 2)) for i in range(4)}
FULL = dict.fromkeys(OPTIONS, 16)
WORTH = {"g0": 4.0, "g1": 2.0, "g2": 0.5, "g3": 0.1}
PLANNED = [FULL, dict.fromkeys(OPTIONS, 12), dict.fromkeys(OPTIONS, 8), dict.fromkeys(OPTIONS, 4)]


def cost(keep: Mapping[str, int]) -> float:
    return float(sum(keep.values()))


def distance(keep: Mapping[str, int]) -> float:
    """Groups matter unequally, and cutting two neighbours costs more than either: no sum over groups tells it."""
    gone = {name: 1 - count / 16 for name, count in keep.items()}
    return sum(WORTH[name] * share**2 for name, share in gone.items()) + 3 * gone["g2"] * gone["g3"]


def anything(_number: int, _keep: Mapping[str, int]) -> bool:
    return True


def trials(count: int) -> Callable[[], bool]:
    left = iter(range(count))
    return lambda: next(left, None) is not None


def test_rungs_come_nearer_to_the_full_network_and_cost_no_more() -> None:
    found = evolve(PLANNED, OPTIONS, cost, distance, anything, trials(400))
    assert found[0] == FULL
    for old, new in zip(PLANNED[1:], found[1:]):
        assert cost(new) <= cost(old)
        assert distance(new) < 0.95 * distance(old)


@pytest.mark.parametrize("count", [0, 2, 3, 4, 17, 120])
def test_what_comes_out_is_nested_whenever_it_is_stopped(count: int) -> None:
    found = evolve(PLANNED, OPTIONS, cost, distance, anything, trials(count), seed=count)
    for larger, smaller in pairwise(found):
        assert all(smaller[name] <= larger[name] for name in larger)
    for old, new in zip(PLANNED, found):
        assert cost(new) <= cost(old)
        assert distance(new) <= distance(old)


def test_only_what_meets_the_budgets_becomes_a_rung() -> None:
    def even(number: int, keep: Mapping[str, int]) -> bool:
        return number != 2 or keep["g0"] <= 8

    found = evolve(PLANNED, OPTIONS, cost, distance, even, trials(300))
    assert found[2]["g0"] <= 8
    assert found[1]["g0"] > 8


def test_the_same_seed_gives_the_same_rungs() -> None:
    first, second = (evolve(PLANNED, OPTIONS, cost, distance, anything, trials(100), seed=3) for _ in range(2))
    assert first == second


def test_it_ends_by_itself_where_there_is_nothing_to_try() -> None:
    found = evolve([{"g0": 4}, {"g0": 2}], {"g0": (2, 4)}, cost, lambda keep: 1 / keep["g0"], anything, lambda: True)
    assert found == [{"g0": 4}, {"g0": 2}]


def test_the_front_is_what_nothing_beats_in_both() -> None:
    points = [(1.0, 0.0), (0.5, 0.2), (0.5, 0.3), (0.6, 0.25), (0.2, 0.9), (0.3, 0.95)]
    assert front(points) == [4, 1, 0]
