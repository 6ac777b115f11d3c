"""The worker process: switches without a failed request, ends with its supervisor, survives a bad rung."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import tritonclient.http as triton

from secateur_agent.inference.control import Loaded, LoadFailed, StatsReply, WorkerExited

SWITCHES = 50


class Load(threading.Thread):
    """Sends requests one after the other, JSON and binary, until told to stop; collects everything that went wrong."""

    def __init__(self, address: str, stop: threading.Event, scales: dict[str, float]) -> None:
        super().__init__()
        self._address, self._stop_asked, self._scales = address, stop, scales
        self.answered = 0
        self.rungs: set[str] = set()
        self.failures: list[str] = []

    def run(self) -> None:
        connection = http.client.HTTPConnection(self._address, timeout=30)
        x = np.array([[1, 2, 3, 4]], np.float32)
        tensor = triton.InferInput("x", [1, 4], "FP32")
        while not self._stop_asked.is_set():
            binary = self.answered % 2 == 0
            tensor.set_data_from_numpy(x, binary_data=binary)
            body, length = triton.InferenceServerClient.generate_request_body([tensor])
            headers = {} if length is None else {"Inference-Header-Content-Length": str(length)}
            try:
                connection.request("POST", "/v2/models/tiny/infer", body, headers)
                response = connection.getresponse()
                data = response.read()
                length = int(response.headers["Inference-Header-Content-Length"])
                y = triton.InferenceServerClient.parse_response_body(data, header_length=length).as_numpy("y")
                rung = response.headers["X-Secateur-Rung"]
                self.rungs.add(rung)
                if response.status != 200 or y is None or y.tolist() != [[10 * self._scales[rung]] * 2]:
                    self.failures.append(f"{response.status} from {rung}: {data!r}")
            except Exception as error:
                self.failures.append(repr(error))
                connection.close()
            self.answered += 1
        connection.close()


def test_no_request_fails_while_the_rung_is_switched_under_load(start_worker: Callable[..., Any], tiny_rungs: Any) -> None:
    worker = start_worker()
    scales = {"r0-fp32": 1.0, "r1-fp32": 2.0, "r2-fp32": 3.0}
    rungs = [tiny_rungs.make(rung, scale=scale) for rung, scale in scales.items()]
    worker.process.load(rungs[0])
    worker.expect(Loaded)
    stop = threading.Event()
    clients = [Load(worker.address, stop, scales) for _ in range(6)]
    for client in clients:
        client.start()
    try:
        for n in range(1, SWITCHES + 1):
            worker.process.load(rungs[n % 3])
            loaded = worker.expect(Loaded)
            assert loaded.rung == rungs[n % 3].rung
    finally:
        stop.set()
        for client in clients:
            client.join(30)
    assert [failure for client in clients for failure in client.failures] == []
    assert set().union(*(client.rungs for client in clients)) == set(scales)
    worker.process.request_stats()
    stats = worker.expect(StatsReply)
    assert (stats.requests, stats.failed_requests) == (sum(client.answered for client in clients), 0)


def test_a_bad_rung_is_one_line_and_the_one_before_serves_on(start_worker: Callable[..., Any], tiny_rungs: Any) -> None:
    worker = start_worker()
    good = tiny_rungs.make()
    worker.process.load(good)
    assert worker.expect(Loaded).providers == ("CPUExecutionProvider",)
    altered = tiny_rungs.make("r1-fp32")
    Path(altered.path).write_bytes(b"altered")
    for bad in (altered, tiny_rungs.make("r2-fp32", path="/nowhere.onnx"), tiny_rungs.make("r3-fp32", runtime="none")):
        worker.process.load(bad)
        failed = worker.expect(LoadFailed)
        assert failed.rung == bad.rung
        assert failed.error
        assert "\n" not in failed.error
    with triton.InferenceServerClient(worker.address) as client:
        assert client.get_model_metadata("tiny")["parameters"] == {"rung": "r0-fp32"}


def test_what_runs_instead_of_the_preferred_provider_is_told(start_worker: Callable[..., Any], tiny_rungs: Any) -> None:
    worker = start_worker()
    worker.process.load(tiny_rungs.make(providers=("CUDAExecutionProvider", "CPUExecutionProvider")))
    loaded = worker.expect(Loaded)
    assert loaded.providers == ("CPUExecutionProvider",)
    assert "CUDAExecutionProvider" in loaded.fallback


def test_a_killed_worker_is_told_and_connections_wait_for_the_next(
    start_worker: Callable[..., Any], tiny_rungs: Any
) -> None:
    worker = start_worker()
    worker.process.kill()
    assert worker.expect(WorkerExited).returncode == -signal.SIGKILL
    assert not worker.process.alive
    worker.process.load(tiny_rungs.make())  # too late, but no exception
    connection = http.client.HTTPConnection(worker.address, timeout=30)
    connection.request("GET", "/v2/health/live")
    successor = type(worker.process)(worker.listening, worker.events.put)
    try:
        assert connection.getresponse().status == 200
    finally:
        connection.close()
        successor.kill()
        assert successor.wait(30) == -signal.SIGKILL


def test_a_request_may_wait_for_the_first_rung_instead_of_being_refused(
    start_worker: Callable[..., Any], tiny_rungs: Any
) -> None:
    worker = start_worker(accept_at_once=False)
    connection = http.client.HTTPConnection(worker.address, timeout=30)
    connection.request("GET", "/v2/health/ready")
    worker.process.request_stats()
    assert worker.expect(StatsReply).rung == ""
    worker.process.load(tiny_rungs.make())
    worker.expect(Loaded)
    assert connection.getresponse().status == 200
    connection.close()


def test_terminate_ends_it_in_good_order(start_worker: Callable[..., Any], tiny_rungs: Any) -> None:
    worker = start_worker()
    worker.process.load(tiny_rungs.make())
    worker.expect(Loaded)
    worker.process.terminate()
    assert worker.expect(WorkerExited).returncode == 0


def test_nonsense_on_the_control_channel_is_ignored(start_worker: Callable[..., Any]) -> None:
    worker = start_worker()
    worker.process._control.sendall(b"nonsense\n{}\n[]\n\xff\n")
    worker.process.request_stats()
    assert worker.expect(StatsReply).requests == 0


@pytest.mark.skipif(sys.platform != "linux", reason="glibc gives memory back when it is asked to")
def test_after_a_step_down_the_memory_comes_back(start_worker: Callable[..., Any], tiny_rungs: Any) -> None:
    """ONNX Runtime sessions that are closed leave their memory with the allocator (microsoft/onnxruntime#26831)."""
    worker = start_worker()
    large = tiny_rungs.make("r0-fp32", features=1024, layers=6)
    resident_mb = []
    for load in (large, tiny_rungs.make("r1-fp32")) * 3:
        worker.process.load(load)
        worker.expect(Loaded)
        worker.process.request_stats()
        resident_mb.append(worker.expect(StatsReply).rss_mb)
    weights_mb = 24
    assert resident_mb[5] < resident_mb[4] - weights_mb / 2
    assert resident_mb[4] < resident_mb[0] + weights_mb / 2


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs POSIX")
def test_a_killed_supervisor_leaves_no_worker_behind() -> None:
    code = """
        import time
        from secateur_agent.inference.control import WorkerProcess
        from secateur_agent.inference.listen import listening_socket
        worker = WorkerProcess(listening_socket("127.0.0.1:0"), lambda event: print(event.rss_mb, worker.pid, flush=True))
        worker.request_stats()
        time.sleep(600)
    """
    command = [sys.executable, "-c", textwrap.dedent(code)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as supervisor:
        assert supervisor.stdout is not None
        pid = int(supervisor.stdout.readline().split()[1])
        worker = psutil.Process(pid)
        os.kill(supervisor.pid, signal.SIGKILL)
        supervisor.wait(30)
        deadline = time.monotonic() + 30
        while worker.is_running() and worker.status() != psutil.STATUS_ZOMBIE:
            assert time.monotonic() < deadline, "the worker outlived its supervisor"
            time.sleep(0.02)


def test_the_command_line_says_what_is_missing() -> None:
    command = [sys.executable, "-m", "secateur_agent.inference.worker"]
    ended = subprocess.run(command, capture_output=True, text=True)
    assert ended.returncode == 2
    assert "--control" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_request_in_json_is_what_the_specification_shows(start_worker: Callable[..., Any], tiny_rungs: Any) -> None:
    worker = start_worker()
    worker.process.load(tiny_rungs.make(scale=0.5))
    worker.expect(Loaded)
    connection = http.client.HTTPConnection(worker.address, timeout=30)
    request = {"id": "a", "inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [[1, 2, 3, 4]]}]}
    connection.request("POST", "/v2/models/tiny/infer", json.dumps(request), {"Content-Type": "application/json"})
    assert json.loads(connection.getresponse().read()) == {
        "model_name": "tiny",
        "model_version": "1",
        "id": "a",
        "parameters": {"rung": "r0-fp32"},
        "outputs": [{"name": "y", "datatype": "FP32", "shape": [1, 2], "data": [5.0, 5.0]}],
    }
    connection.close()
