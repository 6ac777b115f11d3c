"""What the demonstration ends with: the content of ``demo.json``."""

from __future__ import annotations

from typing import Any

import msgspec

from secateur.demo.devices import DemoDevice
from secateur.fleet.client import HostClient


class RungSpan(msgspec.Struct, frozen=True):
    """From when on (seconds after serving began) a rung answered, and why."""

    rung: str
    from_s: float
    reason: str


class DeviceSummary(msgspec.Struct, frozen=True, kw_only=True):
    """One device. ``accuracy`` is that of all its answers about people never seen, ``latency_ms`` the median round trip."""

    id: str
    profile: str
    accuracy: float
    latency_ms: float
    bytes_pushed: int
    requests: int
    failed_requests: int
    rungs: list[RungSpan]


class RepruneSummary(msgspec.Struct, frozen=True, kw_only=True):
    """One re-cut that a device asked for; ``accuracy`` is the new rung's on validation."""

    device: str
    reason: str
    seconds: float
    bytes: int
    rung: str
    accuracy: float


class DemoSummary(msgspec.Struct, frozen=True, kw_only=True):
    """The content of ``demo.json``."""

    seconds: float
    devices: list[DeviceSummary]
    reprunes: list[RepruneSummary]
    simulated: str
    machine: str


def _reason(events: list[dict[str, Any]], rung: str, at_s: float) -> str:
    """The governor's reason for a rung that began to answer at ``at_s``: its last decision for it before."""
    found = [e for e in events if e["kind"] == "decision" and e["text"].startswith(f"{rung}: ") and e["wall_s"] <= at_s + 1]
    return found[-1]["text"].removeprefix(f"{rung}: ") if found else "first rung after the installation"


def summarise_device(host: HostClient, device: DemoDevice, began_s: float) -> DeviceSummary:
    """Collect what is known of one device."""
    traffic = device.traffic
    assert traffic is not None
    events = host.events(device.id, limit=1000)
    return DeviceSummary(
        id=device.id,
        profile=device.profile.name,
        accuracy=round(traffic.correct / max(1, traffic.windows), 4),
        latency_ms=round(traffic.latency_ms(), 3),
        bytes_pushed=int(host.device(device.id)["bytes_pushed"]),
        requests=traffic.requests,
        failed_requests=traffic.failed,
        rungs=[RungSpan(rung, round(at - began_s, 1), _reason(events, rung, at)) for at, rung in traffic.rungs],
    )


def summarise_reprunes(host: HostClient) -> list[RepruneSummary]:
    """Collect every re-cut that was done."""
    return [
        RepruneSummary(
            device=each["device"],
            reason=each["reason"],
            seconds=round(each["seconds"], 2),
            bytes=each["bytes"],
            rung=each["rung"],
            accuracy=each["accuracy"],
        )
        for each in host.reprunes()
        if each["status"] == "done"
    ]
