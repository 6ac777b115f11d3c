"""Exchange: better rungs that cost no more and are still a ladder."""

from __future__ import annotations

from itertools import pairwise, product

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from secateur.ir.groups import Keep
from secateur.search.exchange import exchange

OPTIONS = {"a": [2, 4, 6, 8], "b": [2, 4, 6, 8], "c": [2, 4, 6, 8]}
FULL = dict.fromkeys(OPTIONS, 8)


def linear(slopes: tuple[int, ...]) -> dict[str, np.ndarray]:
    return {name: slope * (8.0 - np.arange(9)) for name, slope in zip(OPTIONS, slopes)}


def summed(losses: dict[str, np.ndarray], keep: Keep) -> float:
    return float(sum(losses[name][count] for name, count in keep.items()))


def size(keep: Keep) -> float:
    return float(sum(keep.values()))


def cliff(keep: Keep) -> float:
    """``a`` and ``b`` only save time together, as where a kernel's block holds both; ``c`` always does."""
    return max(keep["a"], keep["b"]) + keep["c"]


def test_what_saves_time_only_together_is_spent_again_where_it_saves_nothing() -> None:
    losses = linear((3, 1, 9))
    found = exchange([FULL, {"a": 4, "b": 2, "c": 8}], OPTIONS, losses, cliff, size)
    assert found == [FULL, {"a": 4, "b": 4, "c": 8}]


def test_one_group_pays_for_another() -> None:
    losses = linear((9, 1, 1))
    found = exchange([FULL, {"a": 4, "b": 8, "c": 8}], OPTIONS, losses, size, size)
    assert found[1]["a"] == 8
    assert sum(found[1].values()) <= 20


def test_what_is_not_allowed_is_not_taken() -> None:
    losses = linear((9, 1, 1))
    planned = {"a": 4, "b": 8, "c": 8}
    found = exchange(
        [FULL, planned],
        OPTIONS,
        losses,
        size,
        size,
        lambda number, keep: keep["a"] <= 4 and number == 1,
    )
    assert found == [FULL, planned]


def test_a_group_of_a_dropped_block_is_left_alone() -> None:
    losses = linear((1, 9, 1))
    planned = {"a": 4, "b": 2, "c": 4}
    assert exchange([FULL, planned], OPTIONS, losses, cliff, lambda keep: keep["a"] + keep["c"])[1]["b"] == 2


counts = st.sampled_from([2, 4, 6, 8])
SLOPES = st.tuples(*[st.integers(1, 9)] * 3)


@given(SLOPES, SLOPES, st.lists(st.tuples(counts, counts, counts), min_size=1, max_size=4))
def test_rungs_stay_a_ladder_and_never_get_worse_or_dearer(
    slopes: tuple[int, ...], prices: tuple[int, ...], widths: list[tuple[int, ...]]
) -> None:
    losses = linear(slopes)
    rungs = [FULL]
    for each in widths:
        rungs.append({name: min(count, rungs[-1][name]) for name, count in zip(OPTIONS, each)})

    def cost(keep: Keep) -> float:
        return sum(price * keep[name] ** 2 for name, price in zip(OPTIONS, prices))

    found = exchange(rungs, OPTIONS, losses, cost, size)
    for old, new in zip(rungs, found):
        assert cost(new) <= cost(old) * (1 + 1e-6)
        assert summed(losses, new) <= summed(losses, old) + 1e-6
    for larger, smaller in pairwise(found):
        assert all(larger[name] >= smaller[name] for name in OPTIONS)


def test_a_single_rung_is_as_good_as_any_network_one_exchange_away() -> None:
    losses, rng = linear((5, 2, 3)), np.random.default_rng(0)
    for _ in range(20):
        start = {name: int(rng.choice(OPTIONS[name])) for name in OPTIONS}
        found = exchange([FULL, start], OPTIONS, losses, cliff, size)[1]
        for values in product(*OPTIONS.values()):
            other = dict(zip(OPTIONS, values))
            raised = [name for name in OPTIONS if other[name] > found[name]]
            lowered = [name for name in OPTIONS if other[name] < found[name]]
            if len(raised) == 1 and len(lowered) <= 1 and cliff(other) <= cliff(start):
                assert summed(losses, found) <= summed(losses, other) + 1e-6
