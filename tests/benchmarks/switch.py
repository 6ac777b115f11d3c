"""Case ``switch``: a real worker process switches rungs by overlap, again and again, under load."""

from __future__ import annotations

import queue
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from secateur.bundle.reader import BundleFolder
from secateur.evaluation import Session
from secateur_agent.inference.control import Loaded, LoadRung, WorkerProcess
from secateur_agent.inference.listen import endpoint, listening_socket

from .case import Measured, say
from .networks import RESNET, TITLES, compiled, images
from .open_load import OpenLoad, Sent, Target, capacity_hz

SWITCHES = 220
STEADY_S = 0.3
SHARE_OF_CAPACITY = 0.3
# What a switch leaves behind in queues and caches belongs to neither side.
SETTLE_S = 0.05


def measure(work: Path) -> list[Measured]:
    """Switch through the ladder under load; compare what was under way during a switch with what was not."""
    bundle = compiled(RESNET, work)
    (batch, _), *_ = images(RESNET).batches("test")
    array = batch[:1]
    loads, expected = [], {}
    for rung in bundle.manifest.rungs:
        data = bundle.materialise(rung.id)
        path = work / f"switch-{rung.id}.onnx"
        path.write_bytes(data)
        loads.append(_load(bundle, rung.id, path))
        expected[rung.id] = Session(data).run(array)
    listening = listening_socket("127.0.0.1:0")
    events: queue.Queue[object] = queue.Queue()
    worker = WorkerProcess(listening, events.put, env={"OMP_NUM_THREADS": "1"})
    try:
        for each in reversed(loads):
            _switch(worker, events, each)
        address = endpoint(listening).removeprefix("http://")
        target = Target(address, bundle.manifest.name, bundle.manifest.inputs[0].name, array, expected)
        capacity_hz(target, 1.0, 2)  # warms up
        capacity = capacity_hz(target, 4.0, 2)
        rate_hz = SHARE_OF_CAPACITY * capacity
        say(f"the largest rung sustains {capacity:.0f} requests/s; load {rate_hz:.0f}/s; {SWITCHES} switches")
        windows = []
        with OpenLoad(target, rate_hz) as load:
            time.sleep(1.0)
            for number in range(1, SWITCHES + 1):
                windows.append(_switch(worker, events, loads[number % len(loads)]))
                time.sleep(STEADY_S)
            sent = load.stop()
    finally:
        worker.kill()
        worker.wait(10)
        listening.close()
    return _judge(sent, windows)


def _load(bundle: BundleFolder, rung: str, path: Path) -> LoadRung:
    entry, manifest = bundle.manifest.rung(rung), bundle.manifest
    return LoadRung(
        rung=rung,
        path=str(path),
        sha256=entry.file_sha256,
        precision=entry.precision,
        name=manifest.name,
        inputs=manifest.inputs,
        outputs=manifest.outputs,
        runtime="onnxruntime",
        cache=str(path.parent / "compiled"),  # as on a device, where the trial of an install fills it
    )


def _switch(worker: WorkerProcess, events: queue.Queue[object], load: LoadRung) -> tuple[float, float]:
    """Switch; return when it was decided and when the rung before had drained."""
    began_s = time.perf_counter()
    worker.load(load)
    event = events.get(timeout=60)
    if not isinstance(event, Loaded):
        raise RuntimeError(f"switch to {load.rung}: {event}")
    return began_s, time.perf_counter()


def _judge(sent: Sequence[Sent], windows: Sequence[tuple[float, float]]) -> list[Measured]:
    during, steady = [], []
    for each in sent:
        if any(each.due_s < end and each.done_s > begin for begin, end in windows):
            during.append(each.done_s - each.due_s)
        elif windows[0][0] < each.due_s < windows[-1][1] and not any(
            each.due_s < end + SETTLE_S and each.done_s > begin for begin, end in windows
        ):
            steady.append(each.done_s - each.due_s)
    failures = [each.failure for each in sent if each.failure]
    for failure in failures[:3]:
        say(f"failed: {failure}")
    build_ms = float(np.median([end - begin for begin, end in windows])) * 1e3
    at = {name: np.percentile(found, [50, 99]) * 1e3 for name, found in (("steady", steady), ("during", during))}
    say(
        f"{len(sent)} requests; steady ({len(steady)}) p50 {at['steady'][0]:.2f} p99 {at['steady'][1]:.2f} ms; during a "
        f"switch ({len(during)}) p50 {at['during'][0]:.2f} p99 {at['during'][1]:.2f} ms; a switch takes {build_ms:.0f} ms"
    )
    case = f"{TITLES[RESNET]}, int8, {len(windows)} switches, {len(sent)} requests"
    ratio = float(at["during"][1] / at["steady"][1])
    detail = f"{case}; p99 {at['during'][1]:.1f} ms during {len(during)} requests, {at['steady'][1]:.1f} ms steady"
    return [Measured("switch-failed", case, len(failures)), Measured("switch-p99", detail, ratio)]
