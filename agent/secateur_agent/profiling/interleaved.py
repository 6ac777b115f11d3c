"""Times several networks in turns; the host and the device time with this same code.

A machine is never quiet: clocks change, other processes take the core. Networks that are timed one after the other differ
by what the machine did meanwhile. So all take turns, in rounds; of each round the fastest run counts, for nothing makes a
run faster than it is, and of the rounds the median, so that one lucky or unlucky round does not.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Timing:
    """Latency of one inference, batch 1.

    Attributes:
        p50_ms: median over the rounds of each round's fastest run.
        p95_ms: of all runs: with what other processes cost.
        minima_ms: the fastest run of each round; rounds of networks that were timed together can be compared.
    """

    p50_ms: float
    p95_ms: float
    minima_ms: tuple[float, ...]


def time_in_turns(
    runs: Sequence[Callable[[], object]],
    rounds: int = 9,
    round_ms: float = 3.0,
    least_runs: int = 3,
    warm_up: int = 3,
    time_limit_s: float | None = None,
    after_round: Callable[[], object] = lambda: None,
) -> list[Timing]:
    """Time several networks against each other.

    Args:
        runs: each runs its network once.
        rounds: each times every network, in an order of its own.
        round_ms: a network is run this long in each round,
        least_runs: but at least so often.
        warm_up: runs before the first round.
        time_limit_s: no round begins after this time, but there is at least one; None for no limit.
        after_round: called after each round, while the processor is still busy with this.

    Returns:
        One timing for each, in their order.
    """
    deadline_s = None if time_limit_s is None else time.monotonic() + time_limit_s
    timed = [_Timed(run) for run in runs]
    for each in timed:
        for _ in range(warm_up):
            each.once_ms()
    order, shuffle = list(range(len(timed))), random.Random(0)
    for done in range(rounds):
        if done and deadline_s is not None and time.monotonic() >= deadline_s:
            break
        shuffle.shuffle(order)  # whatever a network leaves in the caches, its successor is not always the same
        for index in order:
            timed[index].round(round_ms, least_runs)
        after_round()
    return [each.timing() for each in timed]


class _Timed:
    def __init__(self, run: Callable[[], object]) -> None:
        self._run = run
        self._minima_ms: list[float] = []
        self._all_ms: list[float] = []

    def once_ms(self) -> float:
        start = time.perf_counter_ns()
        self._run()
        return (time.perf_counter_ns() - start) / 1e6

    def round(self, round_ms: float, least_runs: int) -> None:
        self.once_ms()  # brings weights back into the caches
        found: list[float] = []
        while len(found) < least_runs or sum(found) < round_ms:
            found.append(self.once_ms())
        self._minima_ms.append(min(found))
        self._all_ms += found

    def timing(self) -> Timing:
        p50_ms = float(np.median(self._minima_ms))
        return Timing(p50_ms, max(p50_ms, float(np.quantile(self._all_ms, 0.95))), tuple(self._minima_ms))
