"""SIGKILL under a steady stream of requests. Here the test plays systemd."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import psutil
from tests.system.conftest import AgentProcess
from tests.system.stack import expected, infer, infer_soon

CLIENTS = 3


class Requests:
    """What came of a stream of requests. Attributes: ``answered``, ``failed`` (counts), ``wrong`` (answers)."""

    def __init__(self, agent: AgentProcess) -> None:
        self._agent = agent
        self._done = threading.Event()
        self._lock = threading.Lock()
        self.answered = 0
        self.failed = 0
        self.wrong: list[object] = []

    def wait_answered(self, more: int, seconds: float = 60.0) -> None:
        """Wait until so many more were answered."""
        goal, deadline_s = self.answered + more, time.monotonic() + seconds
        while self.answered < goal:
            assert time.monotonic() < deadline_s, f"{self.answered} answered, {self.failed} failed"
            time.sleep(0.02)

    @contextmanager
    def running(self) -> Iterator[Requests]:
        """`CLIENTS` threads that infer one request after the other."""
        threads = [threading.Thread(target=self._run) for _ in range(CLIENTS)]
        for thread in threads:
            thread.start()
        try:
            yield self
        finally:
            self._done.set()
            for thread in threads:
                thread.join()

    def _run(self) -> None:
        right = {f"r{i}-fp32": expected(width) for i, width in enumerate((16, 8, 4))}
        while not self._done.is_set():
            try:
                y, rung = infer(self._agent)
            except Exception:
                with self._lock:
                    self.failed += 1
                time.sleep(0.02)
                continue
            with self._lock:
                self.answered += 1
                if not np.allclose(y, right[rung], rtol=1e-5):
                    self.wrong.append((rung, y))


def test_a_killed_worker_costs_at_most_the_requests_in_flight(installed: Callable[..., AgentProcess]) -> None:
    agent = installed()
    agent.start()
    infer_soon(agent)
    with Requests(agent).running() as requests:
        requests.wait_answered(20)
        killed = agent.worker_pid
        os.kill(killed, signal.SIGKILL)
        requests.wait_answered(20)
        assert agent.worker_pid != killed
    assert requests.failed <= CLIENTS
    assert not requests.wrong
    assert agent.stop() == 0


def test_a_killed_agent_leaves_no_worker_behind_and_serves_again_when_started(
    installed: Callable[..., AgentProcess],
) -> None:
    agent = installed()
    agent.start()
    infer_soon(agent)
    with Requests(agent).running() as requests:
        requests.wait_answered(20)
        worker = psutil.Process(agent.worker_pid)
        agent.kill()
        worker.wait(20)
        agent.start()
        requests.wait_answered(20)
    assert not requests.wrong
    assert agent.stop() == 0
