"""A real mosquitto as a process, with the configuration that ``secateur broker config`` writes."""

from __future__ import annotations

import ssl
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import paho.mqtt.client as mqtt
from paho.mqtt.reasoncodes import ReasonCode

from secateur.fleet.broker_folder import BrokerFolder, configure
from tests.ports import free_port

PROGRAM = Path("/usr/sbin/mosquitto")
LIMIT_S = 20.0


class Mosquitto:
    """Attributes: ``folder`` (the broker's folder), ``port``, ``log`` (a file)."""

    def __init__(self, path: Path) -> None:
        assert PROGRAM.exists(), f"{PROGRAM} is missing: these tests need the real broker (apt-get install mosquitto)"
        self.port = free_port()
        self.folder: BrokerFolder = configure(path, ["localhost"], port=self.port, listen="127.0.0.1").folder
        self.log = path.parent / "mosquitto.log"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Process id."""
        assert self._process is not None
        return self._process.pid

    def start(self, conf: str = "") -> None:
        """Start it and wait until it answers connections; ``conf``: how to write the path, seen from the folder."""
        with self.log.open("ab") as log:
            command = [str(PROGRAM), "-c", conf or str(self.folder.path / "mosquitto.conf")]
            self._process = subprocess.Popen(command, stdout=log, stderr=log, cwd=self.folder.path)
        deadline_s = time.monotonic() + LIMIT_S
        while True:
            assert self._process.poll() is None, self.log.read_text()
            try:
                # Answered by its loop: by then it minds signals. Before that one that tells it to read its files ends it.
                ssl.get_server_certificate(("127.0.0.1", self.port), timeout=5)
                return
            except OSError:
                assert time.monotonic() < deadline_s, self.log.read_text()
                time.sleep(0.02)

    def kill(self) -> None:
        """SIGKILL it, as a power cut would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


class TlsClient:
    """A client of it that keeps what it hears. ``reason``: how the broker answered the connection."""

    def __init__(self, broker: Mosquitto, user: str, password: str, client_id: str = "") -> None:
        self.heard: list[tuple[str, bytes]] = []
        self.ended = threading.Event()
        self.reason: Any = None
        self._changed = threading.Condition()
        self._granted: list[ReasonCode] = []
        self._published: dict[int, ReasonCode] = {}
        self._client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id or f"test-{user}", protocol=mqtt.MQTTv5)
        self._client.tls_set_context(ssl.create_default_context(cafile=str(broker.folder.ca_path)))
        if user:
            self._client.username_pw_set(user, password)
        self._client.on_connect = self._on_connect
        self._client.on_message = self._on_message
        self._client.on_subscribe = self._on_subscribe
        self._client.on_publish = self._on_publish
        self._client.on_disconnect = lambda *_: self.ended.set()
        self._client.connect("localhost", broker.port)
        self._client.loop_start()
        self.wait(lambda: self.reason is not None)

    @property
    def accepted(self) -> bool:
        """Whether the broker let it in."""
        return not self.reason.is_failure

    def subscribe(self, topic: str) -> None:
        """Subscribe; mosquitto accepts that also where nothing may be read."""
        before = len(self._granted)
        self._client.subscribe(topic, qos=1)
        self.wait(lambda: len(self._granted) > before)

    def publish(self, topic: str, payload: bytes) -> bool:
        """Publish with QoS 1; return whether the broker took it."""
        mid = self._client.publish(topic, payload, qos=1).mid
        self.wait(lambda: mid in self._published)
        return not self._published[mid].is_failure

    def wait(self, condition: Any) -> None:
        """Wait until something is true."""
        with self._changed:
            assert self._changed.wait_for(condition, LIMIT_S), f"in vain; {self.reason} {self.heard}"

    def close(self) -> None:
        """Disconnect."""
        self._client.disconnect()
        self._client.loop_stop()

    def _on_connect(self, _client: Any, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        with self._changed:
            self.reason = reason
            self._changed.notify_all()
        if reason.is_failure:
            self._client.disconnect()

    def _on_message(self, _client: Any, _data: Any, message: mqtt.MQTTMessage) -> None:
        with self._changed:
            self.heard.append((message.topic, bytes(message.payload)))
            self._changed.notify_all()

    def _on_subscribe(self, _client: Any, _data: Any, _mid: int, reasons: list[ReasonCode], _properties: Any) -> None:
        with self._changed:
            self._granted += reasons
            self._changed.notify_all()

    def _on_publish(self, _client: Any, _data: Any, mid: int, reason: ReasonCode, _properties: Any) -> None:
        with self._changed:
            self._published[mid] = reason
            self._changed.notify_all()
