"""Case ``reprune``: a device asks for a rung between two of its own; how long it takes, and how many bytes."""

from __future__ import annotations

import math
import time
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

from secateur.bundle.reader import BundleFolder
from secateur_agent.governor.expected_accuracy import expected_accuracy
from secateur_agent.protocol import topics

from .case import Measured, say
from .fleet import DEVICE, Ear, Fleet, Heard
from .networks import MOBILENET, RESNET, TITLES, compiled, images, shared_keys
from .open_load import Target, probe

PROBE_S = 0.05
LIMIT_S = 90.0
ANNOUNCED_S = 0.1
# Regular whether or not a rung is asked for: samples every 5 s, and the host's acknowledgements of them.
_REGULAR = (topics.up(DEVICE, "telemetry"), topics.down(DEVICE, "ack"))


def measure(work: Path) -> list[Measured]:
    """Let each network's device ask for one rung."""
    found = []
    for name in (RESNET, MOBILENET):
        bundle = compiled(name, work)
        seconds, count = _ask(name, bundle, work)
        base_bytes = (bundle.path / "base-int8.safetensors").stat().st_size
        if name == RESNET:
            found.append(Measured("reprune-seconds", TITLES[name], seconds))
        found.append(Measured("reprune-bytes", f"{TITLES[name]}; {count} of {base_bytes} bytes", count / base_bytes))
    return found


def _ask(name: str, bundle: BundleFolder, work: Path) -> tuple[float, int]:
    """Return seconds from the ask to the first response of the new rung, and the bytes of the messages meanwhile."""
    (batch, _), *_ = images(name).batches("test")
    with Fleet(work / f"reprune-{name}", shared_keys(work)) as fleet:
        fleet.install(bundle)
        ear = Ear(fleet.broker_port)
        target = Target(fleet.address, name, bundle.manifest.inputs[0].name, batch[:1], {})
        measured = {each["rung"]: float(each["latency_p50_ms"]) for each in fleet.reported()["measurements"]}
        upper, lower = _widest_gap(measured, expected_accuracy(bundle.manifest.rungs))
        objective_ms = measured[upper] ** 0.6 * measured[lower] ** 0.4
        say(f"{name}: measured {', '.join(f'{rung} {value:.3f} ms' for rung, value in measured.items())}")
        fleet.host.policy(DEVICE, {"latency_ms": objective_ms})
        say(f"{name}: objective {objective_ms:.3f} ms, between {upper} and {lower}")
        deadline_s = time.perf_counter() + LIMIT_S
        rung, done_s = "", 0.0
        for sent in probe(target, PROBE_S):
            if sent.failure:
                raise RuntimeError(f"a request failed: {sent.failure}")
            if sent.rung not in measured:
                rung, done_s = sent.rung, sent.done_s
                break
            if time.perf_counter() > deadline_s:
                raise RuntimeError(f"{name}: no new rung serves after {LIMIT_S:g} s: {_told(fleet)}")
        time.sleep(1.0)  # what the device says about the switch is still to come
        heard = ear.heard()
        ear.close()
        say(f"{name}: {'; '.join(each['text'] for each in fleet.host.events(DEVICE) if each['kind'] == 'reprune')}")
    asked_s = next(each.at_s for each in heard if "/up/ask/" in each.topic and each.bytes > 300)
    # The event that announces the ask goes out just before it.
    mine = [each for each in heard if each.at_s >= asked_s - ANNOUNCED_S]
    _tell(name, rung, done_s - asked_s, mine)
    return done_s - asked_s, sum(each.bytes for each in mine if each.topic not in _REGULAR)


def _widest_gap(measured: dict[str, float], accuracy: dict[str, float]) -> tuple[str, str]:
    """Return the neighbours, in the order of accuracy, that are furthest apart in latency."""
    order = sorted(measured, key=lambda rung: (-accuracy[rung], -measured[rung]))
    pairs = [(math.log(measured[a] / measured[b]), a, b) for a, b in pairwise(order) if accuracy[a] - accuracy[b] >= 0.01]
    if not pairs:
        raise RuntimeError(f"no two rungs differ by a point of accuracy: {accuracy}")
    return max(pairs)[1:]


def _told(fleet: Fleet) -> str:
    events: list[dict[str, Any]] = fleet.host.events(DEVICE)
    return "; ".join(f"{each['kind']}: {each['text']}" for each in events[-8:])


def _tell(name: str, rung: str, seconds: float, heard: list[Heard]) -> None:
    parts: Counter[str] = Counter()
    counts: Counter[str] = Counter()
    for each in heard:
        kind = "recipe" if "/b/" in each.topic else "/".join(each.topic.split("/")[4:6])
        parts[kind] += each.bytes
        counts[kind] += 1
    listed = ", ".join(f"{kind} {count} ({counts[kind]})" for kind, count in parts.most_common())
    say(f"{name}: {rung} answers after {seconds:.1f} s; bytes (messages): {listed}")
