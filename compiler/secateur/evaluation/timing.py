"""Times model files on this machine as the agent's worker runs them; files are timed in turns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from secateur_agent.inference.onnxruntime_backend import session_options
from secateur_agent.inference.onnxruntime_providers import CPU_PROVIDER
from secateur_agent.profiling.interleaved import Timing, time_in_turns

__all__ = ["Timing", "time_interleaved"]

_DTYPES = {"tensor(int32)": np.int32, "tensor(int64)": np.int64, "tensor(bool)": np.bool_}


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
    runs = [_run_of(data, each, threads) for data, each in zip(files, precisions, strict=True)]
    return time_in_turns(runs, rounds, round_ms, least_runs, warm_up)


def _sample(kind: str, shape: list[int], generator: np.random.Generator) -> NDArray[Any]:
    """Noise for a float input, zeros for integers and truth values: any other may be no valid index."""
    if kind == "tensor(float)":
        return generator.standard_normal(shape).astype(np.float32)
    return np.zeros(shape, _DTYPES[kind])


def _run_of(data: bytes, precision: str, threads: int) -> Callable[[], object]:
    session: Any = ort.InferenceSession(data, session_options(precision, threads), providers=[CPU_PROVIDER])
    generator = np.random.default_rng(0)
    feeds = {
        value.name: _sample(value.type, [d if isinstance(d, int) else 1 for d in value.shape], generator)
        for value in session.get_inputs()
    }
    return partial(session.run, None, feeds)
