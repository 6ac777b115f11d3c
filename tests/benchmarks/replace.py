"""Case ``replace``: how much memory a step from the largest to the smallest rung gives back, by replacement and overlap."""

from __future__ import annotations

import queue
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
import psutil

from secateur.bundle.reader import BundleFolder
from secateur.evaluation import Session
from secateur_agent.inference.control import Loaded, LoadRung, Replacing, WorkerProcess
from secateur_agent.inference.listen import endpoint, listening_socket

from .case import Measured, say
from .memory_ladders import LITE0, NAMES, load_requests, memory_ladder
from .open_load import OpenLoad, Sent, Target, capacity_hz

PRECISION = "fp32"
STEPS_DOWN = 5
SHARE_OF_CAPACITY = 0.3
SETTLE_S = 0.5


@dataclass(frozen=True)
class _Step:
    """Resident memory of the worker before a step down, after it and at most in between; how long requests waited."""

    before_mb: float
    after_mb: float
    peak_mb: float
    held_ms: float

    @property
    def given_back_mb(self) -> float:
        return self.before_mb - self.after_mb


def measure(work: Path) -> list[Measured]:
    """Step down again and again in one worker for each mode, under open-loop load; every request must be answered."""
    bundle = memory_ladder(LITE0, PRECISION, work)
    loads = load_requests(bundle, work)
    large, small = loads[0], loads[-1]
    steps: dict[str, list[_Step]] = {}
    sent: dict[str, list[Sent]] = {}
    for mode in ("overlap", "replace"):
        steps[mode], sent[mode] = _steps(bundle, large, msgspec.structs.replace(small, replace=mode == "replace"))
        for step in steps[mode]:
            say(
                f"{mode}: {step.before_mb:.0f} → {step.after_mb:.0f} MB, at most {step.peak_mb:.0f} MB in between; requests "
                f"waited {step.held_ms:.0f} ms"
            )
    back = {mode: float(np.median([step.given_back_mb for step in found])) for mode, found in steps.items()}
    rise = {mode: max(step.peak_mb - step.before_mb for step in found) for mode, found in steps.items()}
    held_ms = float(np.median([step.held_ms for step in steps["replace"]]))
    failures = [each.failure for each in sent["replace"] if each.failure]
    for failure in failures[:3]:
        say(f"failed: {failure}")
    case = (
        f"{NAMES[LITE0]}, {PRECISION}, from the largest to the smallest of {len(loads)} rungs; replace gives "
        f"{back['replace']:.1f} MB back and rises by {max(0.0, rise['replace']):.1f} MB meanwhile, overlap "
        f"{back['overlap']:.1f} MB and {rise['overlap']:.1f} MB"
    )
    requests = len(sent["replace"])
    told = f"{NAMES[LITE0]}, {PRECISION}, {STEPS_DOWN} replacements, {requests} requests; they wait {held_ms:.0f} ms"
    return [
        Measured("replace-memory", case, back["replace"] / back["overlap"]),
        Measured("replace-failed", told, len(failures)),
    ]


def _steps(bundle: BundleFolder, large: LoadRung, small: LoadRung) -> tuple[list[_Step], list[Sent]]:
    with _worker() as (worker, events, address):
        manifest = bundle.manifest
        array = np.random.default_rng(0).standard_normal((1, *manifest.inputs[0].shape[1:])).astype(np.float32)
        expected = {load.rung: Session(Path(load.path).read_bytes()).run(array) for load in (large, small)}
        target = Target(address, manifest.name, manifest.inputs[0].name, array, expected)
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
    _forget_peak(worker.pid)
    loaded = _switch(worker, events, small)
    peak_mb = _peak_mb(worker.pid)
    time.sleep(SETTLE_S)
    held_ms = loaded.replaced.held_ms if loaded.replaced else 0.0
    # A new process image has a peak of its own, which begins at nothing.
    return _Step(before_mb, _rss_mb(process), max(before_mb, peak_mb), held_ms)


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


def _forget_peak(pid: int) -> None:
    """Let the kernel count the peak anew (proc(5), clear_refs)."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def _peak_mb(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024
