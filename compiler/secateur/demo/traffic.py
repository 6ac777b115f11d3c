"""Sends real windows of people the network has never seen to one agent, all along, and counts what comes back."""

from __future__ import annotations

import statistics
import threading
import time
from collections import deque

import httpx
import numpy as np
from numpy.typing import NDArray

from secateur_agent.inference.v2_codec import InferRequest, decode_response, encode_request

RUNG_HEADER = "X-Secateur-Rung"


class Traffic(threading.Thread):
    """A client of one agent, over the Open Inference Protocol with binary tensors.

    Attributes:
        requests: sent; failed: answered by anything but a result; windows, correct: results and right ones.
        rungs: (seconds since the epoch, rung) whenever another rung answers.
    """

    def __init__(
        self,
        url: str,
        model: str,
        input_name: str,
        windows: NDArray[np.float32],
        labels: NDArray[np.int64],
        rate_hz: float,
        batch: int,
    ) -> None:
        super().__init__(daemon=True)
        self._url = f"{url}/v2/models/{model}/infer"
        self._input = input_name
        self._windows = windows
        self._labels = labels
        self._period_s = 1 / rate_hz
        self.batch = batch
        self._ended = threading.Event()
        self._lock = threading.Lock()
        self._inferences: dict[str, int] = {}
        self._latencies_ms: deque[float] = deque(maxlen=5000)
        self.requests = self.failed = self.windows = self.correct = 0
        self.failures: list[str] = []
        self.rungs: list[tuple[float, str]] = []

    def run(self) -> None:
        """Send until `stop`."""
        due = time.monotonic()
        position = 0
        with httpx.Client(timeout=20.0, trust_env=False) as client:
            while not self._ended.is_set():
                index = np.arange(position, position + self.batch) % len(self._windows)
                position = int(index[-1]) + 1
                self._send(client, self._windows[index], self._labels[index])
                due = max(due + self._period_s, time.monotonic() - 1)
                self._ended.wait(max(0.0, due - time.monotonic()))

    def stop(self) -> None:
        """End, after the request that is on its way."""
        self._ended.set()
        self.join(timeout=30)

    def take_inferences(self) -> dict[str, int]:
        """Return rung → inferences since the last call."""
        with self._lock:
            taken, self._inferences = self._inferences, {}
        return taken

    def latency_ms(self) -> float:
        """Return the median round trip."""
        return statistics.median(self._latencies_ms) if self._latencies_ms else float("nan")

    def _send(self, client: httpx.Client, windows: NDArray[np.float32], labels: NDArray[np.int64]) -> None:
        body, header_length = encode_request(InferRequest({self._input: windows}, {}, True), binary_inputs=True)
        headers = {"Content-Type": "application/octet-stream", "Inference-Header-Content-Length": str(header_length)}
        began = time.perf_counter()
        self.requests += 1
        try:
            response = client.post(self._url, content=body, headers=headers)
            if response.status_code != 200:
                raise ValueError(f"{response.status_code}: {response.text[:200]}")
            length = response.headers.get("Inference-Header-Content-Length")
            outputs = decode_response(response.content, int(length) if length else None).outputs
            logits = next(iter(outputs.values()))
        except (httpx.HTTPError, ValueError) as error:
            self.failed += 1
            self.failures.append(f"{type(error).__name__}: {error}")
            return
        self._latencies_ms.append((time.perf_counter() - began) * 1e3)
        rung = response.headers.get(RUNG_HEADER, "")
        with self._lock:
            self._inferences[rung] = self._inferences.get(rung, 0) + len(labels)
        if not self.rungs or self.rungs[-1][1] != rung:
            self.rungs.append((time.time(), rung))
        self.windows += len(labels)
        self.correct += int((logits.argmax(1) == labels).sum())
