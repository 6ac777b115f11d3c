"""Open-loop load on an inference server: requests are sent when they are due, whether or not earlier ones were answered.

It runs in a process of its own, so that it shares no interpreter lock with what it measures. Latency counts from the
instant a request was due, so that a server that stalls cannot hide it by slowing the client down.
"""

from __future__ import annotations

import http.client
import itertools
import multiprocessing
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
from numpy.typing import NDArray

from secateur_agent.inference.v2_codec import CodecError, InferRequest, decode_response, encode_request

RUNG_HEADER = "X-Secateur-Rung"
_LENGTH_HEADER = "Inference-Header-Content-Length"
_TOLERANCE = 1e-3


@dataclass(frozen=True)
class Target:
    """What to ask: ``address`` as HOST:PORT, ``model`` and its ``input`` name, the ``array`` to send, and what each
    rung answers (``expected``, by rung id; empty means not known)."""

    address: str
    model: str
    input: str
    array: NDArray[np.float32]
    expected: Mapping[str, NDArray[np.float32]]


@dataclass(frozen=True)
class Sent:
    """One request: when it was due and when it was answered (seconds of `time.perf_counter`, which all processes of a
    machine share), the rung that answered, and what was wrong ('' if nothing)."""

    due_s: float
    done_s: float
    rung: str
    failure: str


class _Client:
    """One kept-alive connection."""

    def __init__(self, target: Target) -> None:
        self._target = target
        body, length = encode_request(InferRequest({target.input: target.array}, {}, True), binary_inputs=True)
        self._body = body
        self._headers = {"Content-Type": "application/octet-stream", _LENGTH_HEADER: str(length)}
        self._connection = http.client.HTTPConnection(target.address, timeout=30)

    def send(self, due_s: float) -> Sent:
        """Send one request and wait for its answer; a failure is told, never raised."""
        try:
            self._connection.request("POST", f"/v2/models/{self._target.model}/infer", self._body, self._headers)
            response = self._connection.getresponse()
            data = response.read()
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            return Sent(due_s, time.perf_counter(), "", f"{type(error).__name__}: {error}")
        done_s, rung = time.perf_counter(), response.headers.get(RUNG_HEADER, "")
        return Sent(due_s, done_s, rung, self._wrong(response.status, response.headers.get(_LENGTH_HEADER), data, rung))

    def _wrong(self, status: int, length: str | None, data: bytes, rung: str) -> str:
        if status != 200:
            return f"status {status}: {data[:200]!r}"
        expected = self._target.expected.get(rung)
        if expected is None:
            return f"unknown rung {rung!r}" if self._target.expected else ""
        try:
            output = next(iter(decode_response(data, int(length) if length else None).outputs.values()))
        except (CodecError, ValueError) as error:
            return str(error)
        scale = float(np.abs(expected).max())
        close = np.allclose(output, expected, rtol=_TOLERANCE, atol=_TOLERANCE * scale)
        return "" if close else f"not what {rung} computes"

    def close(self) -> None:
        self._connection.close()


def probe(target: Target, every_s: float) -> Iterator[Sent]:
    """Send a request every ``every_s`` seconds, one after the other, for as long as the caller takes results."""
    client = _Client(target)
    try:
        while True:
            due_s = time.perf_counter()
            yield client.send(due_s)
            time.sleep(max(0.0, due_s + every_s - time.perf_counter()))
    finally:
        client.close()


def capacity_hz(target: Target, seconds: float, clients: int) -> float:
    """Return the rate that a server sustains when ``clients`` send one request after the other."""
    return float(_in_process(_closed_loop, target, seconds, clients))


def _closed_loop(pipe: Connection, target: Target, seconds: float, clients: int) -> None:
    end_s = time.perf_counter() + seconds
    counts = [0] * clients

    def run(number: int) -> None:
        client = _Client(target)
        while time.perf_counter() < end_s:
            counts[number] += not client.send(time.perf_counter()).failure
        client.close()

    _together(run, clients)
    pipe.send(sum(counts) / seconds)


class OpenLoad:
    """Sends requests at an even rate from the start of a ``with`` block until `stop`, which returns them all.

    Args:
        target: what to ask.
        rate_hz: requests per second.
        clients: connections; a request that is due waits if all of them are busy, and its latency says so.
    """

    def __init__(self, target: Target, rate_hz: float, clients: int = 16) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_open_loop, args=(theirs, target, rate_hz, clients), daemon=True)

    def __enter__(self) -> OpenLoad:
        self._process.start()
        self._pipe.recv()
        return self

    def stop(self) -> list[Sent]:
        """End the load and return every request in the order in which they were due."""
        self._pipe.send("stop")
        sent: list[Sent] = self._pipe.recv()
        return sent

    def __exit__(self, *raised: object) -> None:
        self._process.join(5)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()


def _open_loop(pipe: Connection, target: Target, rate_hz: float, clients: int) -> None:
    numbers, lock, stopped = itertools.count(), threading.Lock(), threading.Event()
    sent: list[list[Sent]] = [[] for _ in range(clients)]
    began_s = time.perf_counter() + 0.1

    def run(number: int) -> None:
        client = _Client(target)
        while True:
            with lock:
                due_s = began_s + next(numbers) / rate_hz
            # Sleep to just before it is due: to spin for the rest would take the processor from the server.
            if stopped.wait(max(0.0, due_s - time.perf_counter())):
                break
            sent[number].append(client.send(due_s))
        client.close()

    pipe.send("ready")
    others = threading.Thread(target=_together, args=(run, clients))
    others.start()
    pipe.recv()
    stopped.set()
    others.join()
    pipe.send(sorted((each for mine in sent for each in mine), key=lambda each: each.due_s))


def _together(run: Any, count: int) -> None:
    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _in_process(work: Any, *arguments: Any) -> Any:
    context = multiprocessing.get_context("spawn")
    mine, theirs = context.Pipe()
    process = context.Process(target=work, args=(theirs, *arguments), daemon=True)
    process.start()
    result = mine.recv()
    process.join()
    return result
