"""Times model files on this machine as the agent's worker runs them; files are timed in turns.

A machine is never quiet: clocks change, other processes take the core. Files that are timed one after the other differ by
what the machine did meanwhile. So all take turns, in rounds; of each round the fastest run counts, for nothing makes a
run faster than it is, and of the rounds the median, so that one lucky or unlucky round does not.
"""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from secateur_agent.inference.onnxruntime_backend import session_options
from secateur_agent.inference.onnxruntime_providers import CPU_PROVIDER

_DTYPES = {"tensor(int32)": np.int32, "tensor(int64)": np.int64, "tensor(bool)": np.bool_}


@dataclass(frozen=True)
class Timing:
    """Latency of one inference, batch 1.

    Attributes:
        p50_ms: median over the rounds of each round's fastest run.
        p95_ms: of all runs: with what other processes cost.
        minima_ms: the fastest run of each round; rounds of files that were timed together can be compared.
    """

    p50_ms: float
    p95_ms: float
    minima_ms: tuple[float, ...]


def time_interleaved(
    files: Sequence[bytes],
    precision: str | Sequence[str],
    threads: int = 1,
    rounds: int = 9,
    round_ms: float = 3.0,
    least_runs: int = 3,
    warm_up: int = 3,
) -> list[Timing]:
    """Time several model files against each other.

    Args:
        files: ONNX files, one input.
        precision: of all of them, or of each; it decides the session options, which are the worker's.
        threads: inside an operator.
        rounds: each times every file, in an order of its own.
        round_ms: a file is run this long in each round,
        least_runs: but at least so often.
        warm_up: runs before the first round.

    Returns:
        One timing for each file, in their order.
    """
    precisions = [precision] * len(files) if isinstance(precision, str) else precision
    runs = [_Runs(data, each, threads) for data, each in zip(files, precisions, strict=True)]
    for each in runs:
        for _ in range(warm_up):
            each.once_ms()
    order, shuffle = list(range(len(runs))), random.Random(0)
    for _ in range(rounds):
        shuffle.shuffle(order)  # whatever a file leaves in the caches, its successor is not always the same
        for index in order:
            runs[index].round(round_ms, least_runs)
    return [each.timing() for each in runs]


def _sample(kind: str, shape: list[int], generator: np.random.Generator) -> NDArray[Any]:
    """Noise for a float input, zeros for integers and truth values: any other may be no valid index."""
    if kind == "tensor(float)":
        return generator.standard_normal(shape).astype(np.float32)
    return np.zeros(shape, _DTYPES[kind])


class _Runs:
    def __init__(self, data: bytes, precision: str, threads: int) -> None:
        self._session: Any = ort.InferenceSession(data, session_options(precision, threads), providers=[CPU_PROVIDER])
        generator = np.random.default_rng(0)
        self._feeds = {
            value.name: _sample(value.type, [d if isinstance(d, int) else 1 for d in value.shape], generator)
            for value in self._session.get_inputs()
        }
        self._minima_ms: list[float] = []
        self._all_ms: list[float] = []

    def once_ms(self) -> float:
        start = time.perf_counter_ns()
        self._session.run(None, self._feeds)
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
