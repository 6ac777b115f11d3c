"""The worker is kept alive on a listening socket that stays open."""

from __future__ import annotations

import os
import queue
import signal
import time
from collections.abc import Iterator
from typing import Any, TypeVar

import pytest

from secateur_agent.inference.control import Loaded, LoadFailed, Replacing, WorkerExited
from secateur_agent.inference.listen import listening_socket
from secateur_agent.switching import FromWorker, ServingWorker

T = TypeVar("T")


class Kept:
    """A worker that is kept, and what it said."""

    def __init__(self) -> None:
        self.listening = listening_socket("127.0.0.1:0")
        self.inbox: queue.Queue[FromWorker] = queue.Queue()
        self.worker = ServingWorker(self.listening, self.inbox.put)

    def until(self, kind: type[T], now_s: float | None = None) -> T:
        """Hand over events until one of this kind comes."""
        while True:
            message = self.inbox.get(timeout=60)
            event = self.worker.take(message, time.monotonic() if now_s is None else now_s)
            if isinstance(event, kind):
                return event


@pytest.fixture
def kept() -> Iterator[Kept]:
    each = Kept()
    yield each
    each.worker.stop()
    each.listening.close()


def test_a_killed_worker_is_replaced_and_serves_the_same_rung(kept: Kept, tiny_rungs: Any) -> None:
    kept.worker.serve(tiny_rungs.make("r0-fp32"))
    kept.worker.start(time.monotonic())
    assert kept.until(Loaded).rung == kept.worker.rung == "r0-fp32"
    first = kept.worker.pid
    assert first is not None
    os.kill(first, signal.SIGKILL)
    assert kept.until(WorkerExited).returncode == -signal.SIGKILL
    assert kept.worker.rung == ""
    assert kept.until(Loaded).rung == "r0-fp32"
    assert kept.worker.pid != first
    assert not kept.worker.out_of_memory(time.monotonic())
    os.kill(kept.worker.pid or 0, signal.SIGKILL)
    kept.until(WorkerExited)
    assert kept.worker.out_of_memory(time.monotonic())
    assert not kept.worker.out_of_memory(time.monotonic()), "told once"


def test_a_rung_that_does_not_load_leaves_the_one_before(kept: Kept, tiny_rungs: Any) -> None:
    good, bad = tiny_rungs.make("r0-fp32"), tiny_rungs.make("r1-fp32", sha256="0" * 64)
    kept.worker.serve(good)
    kept.worker.start(time.monotonic())
    kept.until(Loaded)
    kept.worker.serve(bad)
    assert kept.until(LoadFailed).rung == "r1-fp32"
    assert kept.worker.rung == "r0-fp32"
    kept.worker.serve(good)
    assert kept.until(Loaded).rung == "r0-fp32"


def test_a_worker_that_never_lives_long_is_started_with_growing_pauses(kept: Kept) -> None:
    kept.worker.start(0.0)
    pauses = []
    now_s = 0.0
    for _ in range(3):
        os.kill(kept.worker.pid or 0, signal.SIGTERM)
        kept.until(WorkerExited, now_s)
        before_s = now_s
        while kept.worker.pid is None:
            now_s += 0.25
            kept.worker.tick(now_s)
        pauses.append(now_s - before_s)
    assert pauses[0] == 0
    assert 0 < pauses[1] < pauses[2]


def test_a_replaced_worker_is_the_same_process_and_says_how_it_switched(kept: Kept, tiny_rungs: Any) -> None:
    kept.worker.serve(tiny_rungs.make("r0-fp32"))
    kept.worker.start(time.monotonic())
    kept.until(Loaded)
    assert kept.worker.mode == ""
    pid, small = kept.worker.pid, tiny_rungs.make("r1-fp32")
    kept.worker.serve(small, "replace")
    kept.until(Replacing)
    assert (kept.worker.rung, kept.worker.serving, kept.worker.rss_mb) == ("", None, None)
    assert kept.until(Loaded).rung == "r1-fp32"
    assert (kept.worker.mode, kept.worker.pid) == ("replace", pid)
    kept.worker.serve(small, "overlap")
    kept.worker.serve(tiny_rungs.make("r2-fp32"))
    assert kept.until(Loaded).rung == "r2-fp32", "what was asked for already is not loaded again"
    assert kept.worker.mode == "overlap"
