"""What the device tells the host: samples through the outbox, events, the reported shadow, its state and birth."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from typing import Any, Literal, Protocol, cast

from msgspec import to_builtins
from msgspec.structs import replace
from nacl.signing import SigningKey

from secateur_agent.clock import WallClock
from secateur_agent.inference.control import Loaded
from secateur_agent.link.outbox import Outbox
from secateur_agent.protocol import topics
from secateur_agent.protocol.envelope import seal
from secateur_agent.protocol.messages import Ack, Birth, Event, Message, Reading, Reported, State, encode

_SAME_FAULT_S = 60.0
_PASSING_S = 1.0
_URGENT = ("install", "model", "manifest_sha256", "rung", "pin", "fault", "version")
"""What a host or a person waits for."""
_MAX_FAULTS = 64
EventKind = Literal["decision", "install", "fault", "worker", "command"]


class Publisher(Protocol):
    """The part of the link that reporting needs."""

    @property
    def connected(self) -> bool: ...

    def publish(
        self, topic: str, payload: bytes, *, qos: int = 1, retain: bool = False, expiry_s: int | None = None
    ) -> bool: ...


class Reporter:
    """Publishes for one device.

    Args:
        device: its id.
        boot: the id of this start.
        link: where to.
        outbox: what keeps samples until the host has stored them.
        clock: wall time.
    """

    def __init__(self, device: str, boot: str, link: Publisher, outbox: Outbox, clock: WallClock) -> None:
        self._device = device
        self._boot = boot
        self._link = link
        self._outbox = outbox
        self._clock = clock
        self._reported: Reported | None = None
        self._reported_s = 0.0
        self._faults: dict[str, float] = {}
        self._absent: dict[str, Reading] = {}

    def online(self, birth: Birth, key: SigningKey, reported: Reported) -> None:
        """Say that the device is there, who it is, and how it stands; what was in flight is sent again."""
        self._outbox.rewind()
        # First who it is: of a device that is not enrolled yet, or refused, a host takes nothing else.
        self._link.publish(topics.up(self._device, "birth"), seal("device", birth, key), retain=True)
        self._publish("state", State(state="ready", boot=self._boot), retain=True)
        self._shadow(reported)

    def report_shadow(self, reported: Reported) -> bool:
        """Publish the reported shadow if it differs from what was published last.

        What changes by the way (progress of a download, a measurement) waits for a second: often more has changed by then.

        Returns:
            Whether that is done; False if it waits or too much is queued, and this must be called again.
        """
        before = self._reported
        if reported == before or not self._link.connected:
            return True
        urgent = before is None or any(getattr(reported, name) != getattr(before, name) for name in _URGENT)
        if not urgent and 0 <= self._clock.now_s() - self._reported_s < _PASSING_S:
            return False
        return self._shadow(reported)

    def _shadow(self, reported: Reported) -> bool:
        taken = self._publish("shadow", reported, retain=True)
        if taken:
            self._reported, self._reported_s = reported, self._clock.now_s()
        return taken

    def event(self, kind: EventKind, text: str, evidence: dict[str, Any] | None = None) -> None:
        """Publish an event, and print it for whoever reads the journal. The same fault is told once a minute."""
        now_s = self._clock.now_s()
        if kind == "fault":
            if text in self._faults and 0 <= now_s - self._faults[text] < _SAME_FAULT_S:
                return
            if len(self._faults) >= _MAX_FAULTS:
                self._faults.clear()
            self._faults[text] = now_s
        line = " ".join(text.split())[:2000]
        print(f"secateur-agent: {kind}: {line}", flush=True)
        self._publish("event", Event(boot=self._boot, kind=kind, wall_s=round(now_s, 3), text=line, evidence=evidence or {}))

    def sample(self, mono_s: float, rung: str, requests: int, failed_requests: int, readings: Mapping[str, Reading]) -> None:
        """Put a sample into the outbox.

        Raises:
            secateur_agent.store.StoreError: if the disk does not take it.
        """
        lean = {name: self._lean(name, reading) for name, reading in readings.items()}
        self._outbox.append(round(self._clock.now_s(), 3), round(mono_s, 3), rung, requests, failed_requests, lean)

    def _lean(self, name: str, reading: Reading) -> Reading:
        """Six digits are more than a sensor has; what is not there need not say so in full each time: a third less."""
        if reading.value is not None:
            self._absent.pop(name, None)
            return replace(reading, value=float(f"{reading.value:.6g}"))
        if self._absent.get(name) == reading:
            return Reading(quality="unavailable", note=reading.note)
        self._absent[name] = reading
        return reading

    def send_held(self, mono_s: float) -> None:
        """Publish the next batch of held samples, if there is one and the link is up."""
        if not self._link.connected:
            return
        batch = self._outbox.next_batch(mono_s)
        if batch is not None:
            self._publish("telemetry", batch)

    def acknowledged(self, ack: Ack) -> None:
        """The host has stored samples: forget them."""
        self._outbox.acknowledge(ack.boot, ack.seq)

    def _publish(self, kind: str, message: Message, retain: bool = False) -> bool:
        return self._link.publish(topics.up(self._device, kind), encode(message), retain=retain)


def birth_message(
    device: str,
    boot: str,
    agent_version: str,
    profile: str,
    trust_root_version: int,
    public_key: str,
    runtime: tuple[str, str],
    simulated: str,
) -> Birth:
    """Say who this device is.

    Args:
        runtime: name and version of what executes the rungs.
        simulated: why the sensors are not this machine's, '' if they are.
    """
    return Birth(
        device=device,
        boot=boot,
        agent_version=agent_version,
        profile=profile,
        trust_root_version=trust_root_version,
        public_key=public_key,
        runtime=runtime[0],
        runtime_version=runtime[1],
        machine=platform.machine(),
        python=platform.python_version(),
        capabilities=("serve", "reprune", "measure", "time-pack", "restart", "diagnose", "rollback"),
        simulated=simulated,
    )


def loaded_event(loaded: Loaded) -> tuple[str, dict[str, Any]]:
    """Return text and evidence of the event that a rung serves now."""
    text = f"{loaded.rung} serves"
    times = {"build_ms": round(loaded.build_ms, 2), "drain_ms": round(loaded.drain_ms, 2)}
    evidence: dict[str, Any] = {"rung": loaded.rung, **times}
    if loaded.replaced is not None:
        taken = loaded.replaced
        text += f"; the worker was replaced, requests waited {taken.held_ms:.0f} ms"
        if taken.rss_before_mb is not None and taken.rss_mb is not None:
            text += f", its memory went from {taken.rss_before_mb:.0f} to {taken.rss_mb:.0f} MB"
        evidence["replaced"] = to_builtins(taken)
    if loaded.fallback:
        text += f"; {loaded.fallback}"
    return text, {**evidence, "providers": list(loaded.providers)}


def as_event_kind(kind: str) -> EventKind:
    """Return ``kind`` if it is one, else ``fault``: an event must not get lost for its label."""
    return cast(EventKind, kind) if kind in ("decision", "install", "fault", "worker", "command") else "fault"
