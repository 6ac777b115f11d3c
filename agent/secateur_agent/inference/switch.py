"""The overlap switch: which rung serves. The new one is built while the old one serves, then swapped in at once."""

from __future__ import annotations

import contextlib
import ctypes
import os
import statistics
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any

from numpy.typing import NDArray

from secateur_agent.inference.backend import Backend, open_backend
from secateur_agent.inference.control import Loaded, LoadRung

_LATENCIES_KEPT = 256
DRAIN_LIMIT_S = 60.0
_BUILD_NICENESS = 10


class ServingRung:
    """A loaded rung, how many requests use it now, and how long its latest runs took."""

    def __init__(self, load: LoadRung, backend: Backend) -> None:
        self.load = load
        self.backend = backend
        self.in_flight = 0
        self._latencies_ms: deque[float] = deque(maxlen=_LATENCIES_KEPT)

    def run(self, feeds: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Run it once; return output name → array.

        Raises:
            secateur_agent.inference.backend.BackendError: if the runtime fails.
        """
        started = time.perf_counter()
        outputs = self.backend.run(feeds)
        self._latencies_ms.append((time.perf_counter() - started) * 1e3)
        return {spec.name: array for spec, array in zip(self.load.outputs, outputs)}

    @property
    def latency_p50_ms(self) -> float | None:
        """Median of the latest runs; None before the first."""
        latencies = list(self._latencies_ms)
        return statistics.median(latencies) if latencies else None


class RungSwitch:
    """Holds the serving rung. One thread calls `load`; any thread calls `lease`."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._serving: ServingRung | None = None
        self._in_flight = 0

    @property
    def serving(self) -> ServingRung | None:
        """The rung that new requests get; None before the first."""
        return self._serving

    @property
    def in_flight(self) -> int:
        """Requests that use a rung now, be it the serving one or the one that drains."""
        return self._in_flight

    @contextlib.contextmanager
    def lease(self) -> Iterator[ServingRung | None]:
        """The serving rung for the length of one request: it stays loaded until the request has ended."""
        with self._changed:
            rung = self._serving
            if rung is not None:
                rung.in_flight += 1
                self._in_flight += 1
        try:
            yield rung
        finally:
            if rung is not None:
                with self._changed:
                    rung.in_flight -= 1
                    self._in_flight -= 1
                    self._changed.notify_all()

    def load(self, load: LoadRung) -> Loaded:
        """Build and warm up a rung, swap it in, wait until nothing uses the one before, and drop that.

        Raises:
            secateur_agent.inference.backend.BackendError: if the rung cannot be loaded; the one before serves on.
        """
        started = time.perf_counter()
        if self._serving is not None:
            _yield_to_requests(load)
        backend = open_backend(load)
        swapped = time.perf_counter()
        with self._changed:
            before, self._serving = self._serving, ServingRung(load, backend)
        drained = swapped
        if before is not None:
            drained = self._drain(before)
            before = None  # so that nothing but a request that still runs holds it
        _return_free_memory()
        return Loaded(
            rung=load.rung,
            build_ms=(swapped - started) * 1e3,
            drain_ms=(drained - swapped) * 1e3,
            providers=backend.providers,
            fallback=backend.fallback,
        )

    def _drain(self, rung: ServingRung) -> float:
        """Wait until no request uses the rung, close it, and return when the last one ended (monotonic, s)."""
        with self._changed:
            drained = self._changed.wait_for(lambda: rung.in_flight == 0, DRAIN_LIMIT_S)
        ended = time.perf_counter()
        # One that does not drain in time lives until its last request lets go of it.
        if drained:
            rung.backend.close()
        return ended


def _yield_to_requests(load: LoadRung) -> None:
    """Build at low priority while a rung serves, so that a request does not wait for a time slice of the build (on two busy
    cores: 99th percentile of the latency during switches 8 ms instead of 13).

    Only where the runtime has no threads of its own: they would inherit the priority and serve with it.
    """
    if sys.platform == "linux" and load.threads == 1:
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _BUILD_NICENESS)


def _return_free_memory() -> None:
    """Give the freed heap back to the system: glibc keeps it, and a step down from 24 MB of weights would free nothing
    (a worker that switched between them and a tiny rung 40 times: 65 MB with this, 145 MB without). Reading and optimising a
    model leaves as much again, so it is done after the first rung, too (EfficientNet-Lite0: 106 MB instead of 131)."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).malloc_trim(0)
