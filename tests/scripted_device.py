"""Both ends of a fleet for tests: a device that says exactly what a test tells it to, and a host in its own process."""

from __future__ import annotations

import base64
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import paho.mqtt.client as mqtt
from nacl.signing import SigningKey

from secateur.fleet.client import HostClient
from secateur_agent.protocol import topics
from secateur_agent.protocol.envelope import open_envelope, seal
from secateur_agent.protocol.messages import (
    Ack,
    AskChunks,
    Birth,
    Desired,
    Reported,
    Sample,
    State,
    Telemetry,
    decode,
    encode,
)

LIMIT_S = 30.0


class Message:
    """A message that a device received."""

    def __init__(self, topic: str, payload: bytes, retained: bool) -> None:
        self.topic = topic
        self.payload = payload
        self.retained = retained


class ScriptedDevice:
    """An MQTT v5 client that subscribes as an agent does and keeps all that it receives."""

    def __init__(self, port: int, device: str, *, profile: str = "linux-x86-64", key: SigningKey | None = None) -> None:
        self.device = device
        self.profile = profile
        self.boot = "boot-1"
        self.key = key or SigningKey.generate()
        self.received: list[Message] = []
        self._changed = threading.Condition()
        self._subscribed: queue.Queue[int] = queue.Queue()
        self._client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, f"scripted-{device}", protocol=mqtt.MQTTv5)
        self._client.on_message = self._on_message
        self._client.on_subscribe = lambda *arguments: self._subscribed.put(1)
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()
        self.subscribe(f"{topics.ROOT}/d/{device}/dn/#")

    def subscribe(self, topic: str) -> None:
        """Subscribe and wait for the broker's answer."""
        self._client.subscribe(topic, qos=1)
        self._subscribed.get(timeout=LIMIT_S)

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        """Publish with QoS 1 and wait until the broker has it."""
        self._client.publish(topic, payload, qos=1, retain=retain).wait_for_publish(LIMIT_S)

    def introduce(self) -> None:
        """Publish birth and state."""
        self.publish(topics.up(self.device, "birth"), seal("device", self.birth(), self.key), retain=True)
        state = State(state="ready", boot=self.boot)
        self.publish(topics.up(self.device, "state"), encode(state), retain=True)

    def birth(self, **changes: Any) -> Birth:
        """A birth of this device."""
        fields: dict[str, Any] = {
            "device": self.device,
            "boot": self.boot,
            "agent_version": "0",
            "profile": self.profile,
            "trust_root_version": 1,
            "public_key": base64.b64encode(bytes(self.key.verify_key)).decode(),
        }
        return Birth(**{**fields, **changes})

    def report(self, version: int, **fields: Any) -> None:
        """Publish the reported shadow."""
        reported = Reported(version=version, boot=self.boot, **fields)
        self.publish(topics.up(self.device, "shadow"), encode(reported), retain=True)

    def telemetry(self, seqs: Sequence[int], first_held: int = 1) -> None:
        """Publish a batch with these sample numbers."""
        samples = tuple(Sample(seq=seq, mono_s=float(seq), wall_s=1e9 + seq, rung="r0-fp32") for seq in seqs)
        message = Telemetry(boot=self.boot, first_held=first_held, samples=samples)
        self.publish(topics.up(self.device, "telemetry"), encode(message))

    def ask_chunks(self, sha256: str, indexes: Sequence[int], ask_id: str = "ask-1") -> None:
        """Ask for chunks of a blob."""
        self.publish(topics.ask(self.device, ask_id), encode(AskChunks(sha256=sha256, indexes=tuple(indexes))))

    def on(self, topic: str) -> list[Message]:
        """Return what was received on a topic so far."""
        with self._changed:
            return [message for message in self.received if message.topic == topic]

    def wait(self, what: str, found: Callable[[ScriptedDevice], Any]) -> Any:
        """Wait until ``found`` returns something true, and return it."""
        deadline_s = time.monotonic() + LIMIT_S
        with self._changed:
            while True:
                result = found(self)
                if result:
                    return result
                if not self._changed.wait(deadline_s - time.monotonic()):
                    raise AssertionError(f"{self.device}: no {what}; received {[m.topic for m in self.received]}")

    def acknowledged(self) -> int:
        """Return the highest acknowledged sample, 0 if none was."""
        acks = [decode(message.payload, Ack) for message in self.on(topics.down(self.device, "ack"))]
        return max((ack.seq for ack in acks if ack.boot == self.boot), default=0)

    def desired(self, root_keys: dict[str, bytes]) -> Desired | None:
        """Return the newest desired shadow, verified."""
        found = self.on(topics.down(self.device, "shadow"))
        return decode(open_envelope("command", found[-1].payload, root_keys), Desired) if found else None

    def close(self) -> None:
        """Disconnect."""
        self._client.disconnect()
        self._client.loop_stop()

    def _on_message(self, _client: Any, _userdata: Any, message: mqtt.MQTTMessage) -> None:
        with self._changed:
            self.received.append(Message(message.topic, message.payload, message.retain))
            self._changed.notify_all()


class HostProcess:
    """``secateur serve`` in a process of its own, so that a test can kill it and start it again."""

    def __init__(self, folder: Path, broker_url: str, *options: str) -> None:
        self.state = folder / "state"
        self.keys = folder / "keys"
        self._log = folder / "serve.log"
        base = ["--broker", broker_url, "--listen", "127.0.0.1:0", "--state", str(self.state), "--keys", str(self.keys)]
        self._command = [sys.executable, "-m", "secateur.cli", "serve", *base, "--gather", "300ms", *options]
        self._process: subprocess.Popen[str] | None = None

    def start(self, connected: bool = True) -> HostProcess:
        """Start it and wait until its API answers and, unless told otherwise, until it is connected to the broker."""
        with self._log.open("a") as log:
            self._process = subprocess.Popen(self._command, stdout=subprocess.PIPE, stderr=log, text=True)
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if "controller ready" in line:
                if connected:
                    with self.client() as client:
                        eventually("connection to the broker", lambda: client.status()["connected"])
                return self
        raise AssertionError(f"the host did not start: {self.log()}")

    def client(self) -> HostClient:
        """Return a client of its API."""
        return HostClient.find(self.state)

    def log(self) -> str:
        """Return what it wrote to standard error."""
        return self._log.read_text()

    def kill(self) -> None:
        """SIGKILL it."""
        if self._process is not None:
            self._process.kill()
            self._end()

    def terminate(self) -> int:
        """SIGTERM it and return its exit status."""
        assert self._process is not None
        self._process.terminate()
        return self._end()

    @property
    def pid(self) -> int:
        """Process id of the running host."""
        assert self._process is not None, "the host is not running"
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether it still runs."""
        return self._process is not None and self._process.poll() is None

    def _end(self) -> int:
        assert self._process is not None
        assert self._process.stdout is not None
        code = self._process.wait(LIMIT_S)
        self._process.stdout.close()
        self._process = None
        return code


def eventually(what: str, check: Callable[[], Any]) -> Any:
    """Wait until ``check`` returns something true, and return it."""
    deadline_s = time.monotonic() + LIMIT_S
    while time.monotonic() < deadline_s:
        result = check()
        if result:
            return result
        time.sleep(0.02)
    raise AssertionError(f"not within {LIMIT_S:g} s: {what}")
