"""The runtimes on the host, one thread, in the mode that shows a device's accuracy."""

from __future__ import annotations

import contextlib
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from secateur.ir import Samples, SecateurError, arrays_of, joined, sample_count, samples_of, take

if TYPE_CHECKING:
    from secateur_agent.inference.tflite_model import LiteModel

TFLITE = "tflite"
_SAMPLES, _ELEMENTS = 256, 1 << 20
"""At most so many samples at once, and about so many elements of inputs: more want memory, and are slower."""


_Run = Callable[[Mapping[str, NDArray[Any]]], list[NDArray[Any]]]


def is_tflite(data: bytes) -> bool:
    """Return whether a model file is one of TFLite."""
    return data[4:8] == b"TFL3"


def require_runtime(runtime: str) -> None:
    """Check that files of a runtime can be run here.

    Args:
        runtime: as profiles name it.

    Raises:
        SecateurError: if it is not installed.
    """
    if runtime == TFLITE:
        _lite_model()


def _lite_model() -> type[LiteModel]:
    try:
        from secateur_agent.inference.tflite_model import LiteModel
    except ImportError:
        raise SecateurError(
            "tflite: no runtime is installed here to check the files in; pip install 'secateur[tflite]'"
        ) from None
    return LiteModel


def open_tflite(data: bytes, threads: int) -> LiteModel:
    """Load a TFLite file.

    Args:
        data: the file.
        threads: inside an operator.

    Raises:
        SecateurError: if no TFLite runtime is installed.
    """
    kind = _lite_model()
    with _without_chatter():
        return kind(data, threads)


@contextlib.contextmanager
def _without_chatter() -> Iterator[None]:
    """TFLite writes which delegate it made to the process's standard error, in the middle of a command's progress."""
    sys.stderr.flush()
    kept = os.dup(2)
    try:
        with open(os.devnull, "wb") as nothing:
            os.dup2(nothing.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


class Session:
    """A model file in its runtime: a TFLite file says what it is, any other is ONNX.

    In ONNX Runtime int8 runs with ``session.x64quantprecision``: without it an x86 processor without VNNI saturates 8-bit
    products and shows less accuracy than a device has. Times taken in this mode are not a device's.
    """

    def __init__(self, data: bytes, exact: bool = True, threads: int = 1) -> None:
        """Load a model.

        Args:
            data: the file.
            exact: keep 8-bit products from saturating.
            threads: inside an operator.
        """
        if is_tflite(data):
            model = open_tflite(data, threads)
            self._inputs = [each.name for each in model.inputs]
            self._run: _Run = lambda feeds: list(model.run(feeds).values())
            return
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        if exact:
            options.add_session_config_entry("session.x64quantprecision", "1")
        session = ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        self._inputs = [value.name for value in session.get_inputs()]
        self._run = lambda feeds: session.run(None, dict(feeds))

    def run(self, inputs: Samples) -> NDArray[Any]:
        """Return the first output for all inputs, (samples, …)."""
        return arrays_of(self.outputs(inputs))[0]

    def outputs(self, inputs: Samples) -> Samples:
        """Return all outputs for all inputs."""
        size = sum(array[0].size for array in arrays_of(inputs))
        batch = max(1, min(_SAMPLES, _ELEMENTS // max(1, size)))
        parts = [
            samples_of(self._run(self._feeds(take(inputs, slice(start, start + batch)))))
            for start in range(0, sample_count(inputs), batch)
        ]
        return joined(parts)

    def _feeds(self, inputs: Samples) -> dict[str, NDArray[Any]]:
        return dict(zip(self._inputs, arrays_of(inputs), strict=True))

    def latency_ms(self, sample: Samples, runs: int = 50, warm_up: int = 5) -> float:
        """Return the median time of one inference at batch 1 on this machine."""
        feeds = self._feeds(take(sample, slice(0, 1)))
        for _ in range(warm_up):
            self._run(feeds)
        times = []
        for _ in range(runs):
            start = time.perf_counter()
            self._run(feeds)
            times.append(time.perf_counter() - start)
        return statistics.median(times) * 1e3


def snr_db(reference: NDArray[np.floating], value: NDArray[np.floating]) -> float:
    """Return the signal-to-noise ratio of ``value`` in dB; infinite if it equals the reference."""
    signal = float((np.asarray(reference, np.float64) ** 2).sum())
    noise = float(((np.asarray(reference, np.float64) - value) ** 2).sum())
    return float("inf") if noise == 0 else 10 * float(np.log10(max(signal, 1e-300) / noise))
