"""Replacing a worker in place: requests wait instead of failing, and the memory comes back."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import psutil
import pytest
from tests.agent.inference.test_worker import Load

from secateur_agent.inference.control import Loaded, LoadFailed, LoadRung, Replacing, StatsReply, WorkerExited
from secateur_agent.profiling.memory import rss_mb

LAYERS, FEATURES = 12, 1024
WEIGHTS_MB = 4 * LAYERS * FEATURES**2 / 2**20
REPLACEMENTS = 4


def replacing(load: LoadRung) -> LoadRung:
    return msgspec.structs.replace(load, replace=True)


def test_no_request_fails_on_kept_or_new_connections_while_the_worker_is_replaced_under_load(
    start_worker: Callable[..., Any], tiny_rungs: Any
) -> None:
    worker = start_worker()
    scales = {"r0-fp32": 1.0, "r1-fp32": 2.0}
    rungs = [tiny_rungs.make(rung, scale=scale) for rung, scale in scales.items()]
    worker.process.load(rungs[0])
    worker.expect(Loaded)
    stop, failures, answered = threading.Event(), [], [0]

    def one_connection_each() -> None:
        request = {"inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [1, 2, 3, 4]}]}
        while not stop.is_set():
            connection = http.client.HTTPConnection(worker.address, timeout=30)
            try:
                connection.request("POST", "/v2/models/tiny/infer", json.dumps(request))
                response = connection.getresponse()
                response.read()
                answered[0] += 1
                if response.status != 200:
                    failures.append(str(response.status))
            except OSError as error:
                failures.append(repr(error))
            finally:
                connection.close()

    kept = [Load(worker.address, stop, scales) for _ in range(4)]
    new = threading.Thread(target=one_connection_each)
    for client in (*kept, new):
        client.start()
    pid = worker.process.pid
    try:
        for n in range(1, REPLACEMENTS + 1):
            worker.process.load(replacing(rungs[n % 2]))
            assert worker.expect(Replacing).rung == rungs[n % 2].rung
            loaded = worker.expect(Loaded)
            assert (loaded.rung, loaded.replaced is not None) == (rungs[n % 2].rung, True)
            time.sleep(0.2)
    finally:
        stop.set()
        for client in (*kept, new):
            client.join(30)
    assert [failure for client in kept for failure in client.failures] + failures == []
    assert set().union(*(client.rungs for client in kept)) == set(scales)
    worker.process.request_stats()
    stats = worker.expect(StatsReply)
    assert stats.requests == sum(client.answered for client in kept) + answered[0], "a new image counts on"
    assert worker.process.pid == pid


def test_requests_in_flight_and_those_that_come_meanwhile_are_answered(
    start_worker: Callable[..., Any], tiny_rungs: Any
) -> None:
    worker = start_worker()
    slow = tiny_rungs.make("r0-fp32", features=FEATURES, layers=LAYERS)
    worker.process.load(slow)
    worker.expect(Loaded)
    batch = 64
    values = [[0.0] * FEATURES] * batch
    tensor = {"name": "x", "shape": [batch, FEATURES], "datatype": "FP32", "data": values}
    body = json.dumps({"inputs": [tensor]})

    def answer(connection: http.client.HTTPConnection) -> tuple[int, str | None]:
        response = connection.getresponse()
        response.read()
        return response.status, response.headers["X-Secateur-Rung"]

    running, idle, late = (http.client.HTTPConnection(worker.address, timeout=30) for _ in range(3))
    idle.request("POST", "/v2/models/tiny/infer", body)
    assert answer(idle) == (200, "r0-fp32")
    running.request("POST", "/v2/models/tiny/infer", body)
    in_flight = 0
    while not in_flight:  # it has been read, and runs or has just run
        worker.process.request_stats()
        stats = worker.expect(StatsReply)
        in_flight = stats.in_flight + (stats.requests > 1)
    worker.process.load(replacing(tiny_rungs.make("r1-fp32", features=FEATURES)))
    worker.expect(Replacing)
    idle.request("POST", "/v2/models/tiny/infer", body)
    late.request("POST", "/v2/models/tiny/infer", body)
    worker.process.request_stats()
    assert answer(running) == (200, "r0-fp32")
    assert answer(idle) == (200, "r1-fp32")
    assert answer(late) == (200, "r1-fp32")
    told = [worker.events.get(timeout=60) for _ in range(2)]
    assert {type(event) for event in told} == {Loaded, StatsReply}, "what was asked meanwhile is answered by the new image"
    for connection in (running, idle, late):
        connection.close()


@pytest.mark.skipif(rss_mb() is None, reason="this system does not tell the memory of a process")
def test_the_memory_of_the_rung_before_comes_back_and_never_rises(start_worker: Callable[..., Any], tiny_rungs: Any) -> None:
    worker = start_worker()
    worker.process.load(tiny_rungs.make("r0-fp32", features=FEATURES, layers=LAYERS))
    worker.expect(Loaded)
    process = psutil.Process(worker.process.pid)
    before_mb = process.memory_info().rss / 2**20
    worker.process.load(replacing(tiny_rungs.make("r1-fp32", features=FEATURES)))
    worker.expect(Replacing)
    loaded = worker.expect(Loaded)
    after_mb = process.memory_info().rss / 2**20
    assert after_mb < before_mb - WEIGHTS_MB
    assert loaded.replaced.rss_before_mb == pytest.approx(before_mb, abs=8)
    assert loaded.replaced.rss_mb == pytest.approx(after_mb, abs=8)
    peak_kb = next(
        line.split()[1] for line in Path(f"/proc/{process.pid}/status").read_text().splitlines() if "VmHWM" in line
    )
    assert int(peak_kb) / 1024 < before_mb - WEIGHTS_MB / 2, "the new image never held the old rung"


def test_a_damaged_file_does_not_cost_the_rung_that_serves(start_worker: Callable[..., Any], tiny_rungs: Any) -> None:
    worker = start_worker()
    worker.process.load(tiny_rungs.make())
    worker.expect(Loaded)
    worker.process.load(replacing(tiny_rungs.make("r1-fp32", sha256="0" * 64)))
    assert "altered" in worker.expect(LoadFailed).error
    worker.process.request_stats()
    assert worker.expect(StatsReply).rung == "r0-fp32"
    worker.process.load(tiny_rungs.make("r2-fp32"))
    assert worker.expect(Loaded).rung == "r2-fp32"


def test_a_rung_that_the_new_image_cannot_load_is_told_and_the_next_one_serves(
    start_worker: Callable[..., Any], tiny_rungs: Any
) -> None:
    worker = start_worker()
    worker.process.load(tiny_rungs.make())
    worker.expect(Loaded)
    worker.process.load(replacing(tiny_rungs.make("r1-fp32", runtime="none")))
    worker.expect(Replacing)
    assert worker.expect(LoadFailed).rung == "r1-fp32"
    worker.process.load(tiny_rungs.make("r2-fp32"))
    assert worker.expect(Loaded).rung == "r2-fp32"


def test_with_nothing_in_memory_there_is_nothing_to_replace(start_worker: Callable[..., Any], tiny_rungs: Any) -> None:
    worker = start_worker(accept_at_once=False)
    worker.process.load(replacing(tiny_rungs.make()))
    assert worker.expect(Loaded).replaced is None


def test_the_end_of_the_supervisor_ends_the_new_image_too(start_worker: Callable[..., Any], tiny_rungs: Any) -> None:
    worker = start_worker(spec=f"unix:{tiny_rungs.folder}/socket")
    worker.process.load(tiny_rungs.make())
    worker.expect(Loaded)
    worker.process.load(replacing(tiny_rungs.make("r1-fp32")))
    worker.expect(Replacing)
    worker.expect(Loaded)
    os.kill(worker.process.pid, signal.SIGTERM)
    assert worker.expect(WorkerExited).returncode == 0


def test_what_is_no_legacy_is_one_line() -> None:
    command = [sys.executable, "-m", "secateur_agent.inference.worker", "--control", "0", "--listen", "0", "--legacy", "{}"]
    ended = subprocess.run(command, capture_output=True, text=True)
    assert ended.returncode == 2
    assert "--legacy" in ended.stderr
    assert "Traceback" not in ended.stderr
