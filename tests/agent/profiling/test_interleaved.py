"""Turns: every network has the same number of rounds, and a limit ends them all together."""

from __future__ import annotations

import time

from secateur_agent.profiling.interleaved import time_in_turns


def test_all_take_part_in_every_round_and_the_slow_one_is_slower() -> None:
    order: list[int] = []
    rounds: list[int] = []

    def run(number: int, seconds: float) -> None:
        order.append(number)
        time.sleep(seconds)

    runs = [lambda: run(0, 0.0), lambda: run(1, 0.004)]
    fast, slow = time_in_turns(
        runs, rounds=3, round_ms=0.0, least_runs=2, warm_up=1, after_round=lambda: rounds.append(len(order))
    )
    assert order[:2] == [0, 1]
    assert order.count(0) == order.count(1) == 1 + 3 * (1 + 2)
    assert rounds == [8, 14, 20]
    assert len(fast.minima_ms) == len(slow.minima_ms) == 3
    assert fast.p50_ms < slow.p50_ms <= slow.p95_ms
    assert min(slow.minima_ms) <= slow.p50_ms <= max(slow.minima_ms)


def test_after_the_limit_no_round_begins_but_there_is_one() -> None:
    (timing,) = time_in_turns([lambda: None], rounds=9, time_limit_s=0.0)
    assert len(timing.minima_ms) == 1
    assert time_in_turns([]) == []
