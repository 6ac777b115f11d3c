"""A host in a test's own hands: pushes real bundles over MQTT and records what one device reports."""

from __future__ import annotations

import base64
import hashlib
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion
from tests.bundle_factory import ToyRecut

from secateur.bundle.keys import Keys
from secateur_agent.bundle.manifest import open_manifest
from secateur_agent.protocol import topics
from secateur_agent.protocol.messages import (
    Ack,
    AskChunks,
    AskReprune,
    BlobRef,
    Command,
    CommandStatus,
    Desired,
    Event,
    ModelRef,
    Policy,
    RecutRef,
    Reported,
    State,
    Telemetry,
    decode,
    encode,
)

T = TypeVar("T")
CHUNK_BYTES = 1024


def blob_ref(data: bytes) -> BlobRef:
    """Describe a blob in chunks of `CHUNK_BYTES`."""
    chunks = [data[i : i + CHUNK_BYTES] for i in range(0, len(data), CHUNK_BYTES)]
    digests = b"".join(hashlib.sha256(chunk).digest() for chunk in chunks) if len(chunks) > 1 else b""
    sha256 = hashlib.sha256(data).hexdigest()
    return BlobRef(sha256=sha256, size=len(data), chunk_bytes=CHUNK_BYTES, chunks=base64.b64encode(digests).decode())


class ScriptedHost:
    """Attributes: ``blobs`` (digest → content); ``answers_asks``: whether chunks that are asked for are sent;
    ``asked``: (digest, index) of every chunk that was asked for; ``stored``: boot → seqs of samples."""

    def __init__(self, port: int, device: str, keys: Keys) -> None:
        self._device = device
        self.keys = keys
        self._changed = threading.Condition()
        self.blobs: dict[str, bytes] = {}
        self.answers_asks = True
        self.asked: list[tuple[str, int]] = []
        self.reprunes: list[AskReprune] = []
        self.events: list[Event] = []
        self.states: list[State] = []
        self.reported: Reported | None = None
        self.steps: list[str] = []
        self.statuses: dict[str, list[CommandStatus]] = {}
        self.stored: dict[str, list[int]] = {}
        self.births = 0
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id="scripted-host", protocol=mqtt.MQTTv5)
        self._client.on_connect = lambda client, *_: client.subscribe(f"{topics.ROOT}/d/{device}/up/#", qos=1)
        self._client.on_message = self._on_message
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()

    def close(self) -> None:
        """Disconnect."""
        self._client.disconnect()
        self._client.loop_stop()

    def model(self, bundle: Path) -> ModelRef:
        """Take in the files of a bundle and describe it."""
        data = (bundle / "manifest.json").read_bytes()
        manifest = open_manifest(self.keys.root, data)
        files = [(bundle / file.path).read_bytes() for file in manifest.files]
        for content in (data, *files):
            self.blobs[hashlib.sha256(content).hexdigest()] = content
        return ModelRef(name=manifest.name, manifest=blob_ref(data), files=tuple(blob_ref(each) for each in files))

    def recut(self, recut: ToyRecut) -> RecutRef:
        """Take in a re-cut rung and describe it."""
        self.blobs[hashlib.sha256(recut.recipe).hexdigest()] = recut.recipe
        return RecutRef(envelope=base64.b64encode(recut.envelope).decode(), recipe=blob_ref(recut.recipe))

    def want(
        self,
        version: int,
        model: ModelRef | None,
        recuts: tuple[RecutRef, ...] = (),
        pin: str = "",
        policy: Policy | None = None,
    ) -> None:
        """Publish a desired shadow."""
        desired = Desired(
            device=self._device, version=version, model=model, recuts=recuts, pin=pin, policy=policy or Policy()
        )
        self.publish(topics.down(self._device, "shadow"), self.keys.seal("command", desired), retain=True)

    def command(self, command_id: str, seq: int, body: Any, expires_s: float | None = None) -> None:
        """Publish a command."""
        command = Command(device=self._device, id=command_id, seq=seq, expires_s=expires_s or time.time() + 60, body=body)
        self.publish(topics.command(self._device, command_id), self.keys.seal("command", command), retain=True)

    def broadcast(self, model: ModelRef) -> None:
        """Publish every chunk of a model once."""
        for ref in (model.manifest, *model.files):
            for index in range(ref.chunk_count):
                self.send_chunk(ref.sha256, index)

    def send_chunk(self, sha256: str, index: int) -> None:
        """Publish one chunk for all."""
        data = self.blobs[sha256][index * CHUNK_BYTES : (index + 1) * CHUNK_BYTES]
        self.publish(topics.chunk(sha256, index), data)

    def publish(self, topic: str, payload: bytes, retain: bool = False) -> None:
        """Publish anything."""
        self._client.publish(topic, payload, qos=1, retain=retain)

    def wait(self, condition: Callable[[ScriptedHost], T], seconds: float = 30.0) -> T:
        """Wait until ``condition(self)`` is true; return what it returned."""
        with self._changed:
            if not self._changed.wait_for(lambda: condition(self), seconds):
                texts = [f"{event.kind}: {event.text}" for event in self.events]
                raise AssertionError(f"in vain; reported {self.reported}; events {texts[-20:]}")
            return condition(self)

    def wait_installed(self, model: ModelRef, rung: str = "") -> Reported:
        """Wait until a model is committed and a rung of it (this one, if given) serves."""

        def installed(host: ScriptedHost) -> Reported | None:
            at = host.reported
            done = at and at.manifest_sha256 == model.manifest.sha256 and at.install == "committed"
            return at if at and done and (at.rung == rung if rung else at.rung) else None

        found = self.wait(installed)
        assert found is not None
        return found

    def wait_no_sample_missing(self) -> None:
        """Wait until the samples of every boot are stored without a gap."""
        self.wait(lambda h: all(set(range(1, max(seqs) + 1)) == set(seqs) for seqs in h.stored.values()), 60.0)

    def texts(self, kind: str) -> list[str]:
        """The texts of the events of a kind."""
        return [event.text for event in self.events if event.kind == kind]

    def _on_message(self, _client: Any, _data: Any, message: mqtt.MQTTMessage) -> None:
        if not message.payload:
            return
        at = topics.parse_up(message.topic)
        with self._changed:
            self._take(at.kind, at.key, bytes(message.payload))
            self._changed.notify_all()

    def _take(self, kind: str, key: str, payload: bytes) -> None:
        if kind == "shadow":
            self.reported = decode(payload, Reported)
            if self.steps[-1:] != [self.reported.install]:
                self.steps.append(self.reported.install)
        elif kind == "event":
            self.events.append(decode(payload, Event))
        elif kind == "state":
            self.states.append(decode(payload, State))
        elif kind == "birth":
            self.births += 1
        elif kind == "cmd":
            self.statuses.setdefault(key, []).append(decode(payload, CommandStatus))
        elif kind == "telemetry":
            batch = decode(payload, Telemetry)
            stored = self.stored.setdefault(batch.boot, [])
            stored.extend(sample.seq for sample in batch.samples)
            # Up to where nothing is missing: a batch that passed before this host listened comes again.
            reached = batch.first_held - 1
            while reached + 1 in stored:
                reached += 1
            if reached >= batch.first_held:
                self.publish(topics.down(self._device, "ack"), encode(Ack(boot=batch.boot, seq=reached)))
        elif kind == "ask":
            ask: AskChunks | AskReprune = decode(payload, AskChunks | AskReprune)  # type: ignore[arg-type]
            if isinstance(ask, AskReprune):
                self.reprunes.append(ask)
                return
            for index in ask.indexes:
                self.asked.append((ask.sha256, index))
                if self.answers_asks:
                    data = self.blobs[ask.sha256][index * CHUNK_BYTES : (index + 1) * CHUNK_BYTES]
                    self._client.publish(topics.repair(self._device, ask.sha256, index), data, qos=0)
