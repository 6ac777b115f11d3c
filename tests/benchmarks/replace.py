"""Case ``replace``: what a step from the largest to the smallest rung does to the memory, by replacement and by overlap."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
import psutil

from secateur.evaluation import Session
from secateur_agent.inference.control import Loaded, LoadRung, Replacing, WorkerProcess
from secateur_agent.inference.listen import endpoint, listening_socket

from .case import Measured, say
from .memory_ladders import LITE0, NAMES, memory_ladder
from .open_load import OpenLoad, Sent, Target, capacity_hz

PRECISION = "fp32"
STEPS_DOWN = 7
SHARE_OF_CAPACITY = 0.3
SETTLE_S = 0.5
_SAMPLE_S = 0.001


@dataclass(frozen=True)
class _Step:
    """Resident memory of the worker before a step down, after it and at most in between; how long requests waited."""

    before_mb: float
    after_mb: float
    most_mb: float
    held_ms: float


def measure(work: Path) -> list[Measured]:
    """Step down again and again in one worker for each mode, under open-loop load; every request must be answered."""
    loads = [rung.load for rung in memory_ladder(LITE0, PRECISION, work)]
    large, small = loads[0], loads[-1]
    steps, sent = {}, {}
    for mode in ("overlap", "replace"):
        steps[mode], sent[mode] = _steps(large, msgspec.structs.replace(small, replace=mode == "replace"))
        for step in steps[mode]:
            say(
                f"{mode}: {step.before_mb:.0f} → {step.after_mb:.0f} MB, at most {step.most_mb:.0f} MB in between; requests "
                f"waited {step.held_ms:.0f} ms"
            )
    fresh_mb = float(np.median([_fresh_mb(large, small) for _ in range(STEPS_DOWN)]))
    after_mb = {mode: float(np.median([step.after_mb for step in found])) for mode, found in steps.items()}
    rise_mb = {mode: max(step.most_mb - step.before_mb for step in found) for mode, found in steps.items()}
    before_mb = float(np.median([step.before_mb for step in steps["replace"]]))
    held_ms = float(np.median([step.held_ms for step in steps["replace"]]))
    failures = [each.failure for each in sent["replace"] if each.failure]
    for failure in failures[:3]:
        say(f"failed: {failure}")
    what = f"{NAMES[LITE0]}, {PRECISION}, from the widest of {len(loads)} rungs to the narrowest"
    given = (
        f"{before_mb:.1f} → {after_mb['replace']:.1f} MB; by overlap → {after_mb['overlap']:.1f} MB; fresh {fresh_mb:.1f} MB"
    )
    requests = len(sent["replace"])
    return [
        Measured("replace-memory", f"{what}; {given}", after_mb["replace"] / fresh_mb),
        Measured("replace-rise", f"{what}; by overlap it rises by {rise_mb['overlap']:.1f} MB", rise_mb["replace"]),
        Measured(
            "replace-failed", f"{what}, {STEPS_DOWN} times; {requests} requests; they wait {held_ms:.0f} ms", len(failures)
        ),
    ]


def _steps(large: LoadRung, small: LoadRung) -> tuple[list[_Step], list[Sent]]:
    with _worker() as (worker, events, address):
        target = _target(address, large, small)
        _switch(worker, events, large)
        rate_hz = SHARE_OF_CAPACITY * capacity_hz(target, 3.0, 1)
        steps = []
        with OpenLoad(target, rate_hz, clients=4) as load:
            for _ in range(STEPS_DOWN):
                time.sleep(SETTLE_S)
                steps.append(_step_down(worker, events, small))
                _switch(worker, events, large)
            sent = load.stop()
    return steps, sent


def _fresh_mb(large: LoadRung, small: LoadRung) -> float:
    """What a worker holds that only ever served the small rung."""
    with _worker() as (worker, events, address):
        _switch(worker, events, msgspec.structs.replace(small, replace=False))
        capacity_hz(_target(address, large, small), SETTLE_S, 4)
        return _rss_mb(psutil.Process(worker.pid))


def _target(address: str, *loads: LoadRung) -> Target:
    first = loads[0]
    array = np.random.default_rng(0).standard_normal((1, *first.inputs[0].shape[1:])).astype(np.float32)
    expected = {load.rung: Session(Path(load.path).read_bytes()).run(array) for load in loads}
    return Target(address, first.name, first.inputs[0].name, array, expected)


@contextmanager
def _worker() -> Iterator[tuple[WorkerProcess, queue.Queue[object], str]]:
    listening = listening_socket("127.0.0.1:0")
    events: queue.Queue[object] = queue.Queue()
    worker = WorkerProcess(listening, events.put, env={"OMP_NUM_THREADS": "1"})
    try:
        yield worker, events, endpoint(listening).removeprefix("http://")
    finally:
        worker.kill()
        worker.wait(10)
        listening.close()


def _step_down(worker: WorkerProcess, events: queue.Queue[object], small: LoadRung) -> _Step:
    process = psutil.Process(worker.pid)
    before_mb = _rss_mb(process)
    seen_mb, stepped = [before_mb], threading.Event()

    def watch() -> None:
        while not stepped.wait(_SAMPLE_S):
            seen_mb.append(_rss_mb(process))

    watching = threading.Thread(target=watch)
    watching.start()
    loaded = _switch(worker, events, small)
    stepped.set()
    watching.join()
    time.sleep(SETTLE_S)
    return _Step(before_mb, _rss_mb(process), max(seen_mb), loaded.replaced.held_ms if loaded.replaced else 0.0)


def _switch(worker: WorkerProcess, events: queue.Queue[object], load: LoadRung) -> Loaded:
    worker.load(load)
    event = events.get(timeout=60)
    if isinstance(event, Replacing):
        event = events.get(timeout=60)
    if not isinstance(event, Loaded):
        raise RuntimeError(f"switch to {load.rung}: {event}")
    return event


def _rss_mb(process: psutil.Process) -> float:
    return float(process.memory_info().rss) / 2**20
