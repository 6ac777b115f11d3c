"""A broker, a host and one agent as real processes, and an ear on the broker that notes every message."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import paho.mqtt.client as mqtt
import psutil
from paho.mqtt.enums import CallbackAPIVersion

from secateur.bundle.keys import Keys
from secateur.bundle.reader import BundleFolder
from secateur.demo.processes import Processes, free_port
from secateur.fleet.client import HostClient
from secateur_agent.protocol import topics

from .networks import PROFILE

DEVICE = "bench-1"
LIMIT_S = 120.0


@dataclass(frozen=True)
class Heard:
    """A message that passed the broker: when (`time.perf_counter`), topic, and bytes of topic and payload."""

    at_s: float
    topic: str
    bytes: int


class Ear:
    """Subscribes to everything that belongs to the protocol."""

    def __init__(self, port: int) -> None:
        self._heard: list[Heard] = []
        self._lock = threading.Lock()
        ready = threading.Event()
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2, "bench-ear", protocol=mqtt.MQTTv5)
        self._client.on_message = self._on_message
        self._client.on_subscribe = lambda *_: ready.set()
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()
        self._client.subscribe(f"{topics.ROOT}/#", qos=1)
        if not ready.wait(10):
            raise RuntimeError("the broker does not answer")

    def heard(self) -> list[Heard]:
        """Return what was heard so far."""
        with self._lock:
            return list(self._heard)

    def close(self) -> None:
        """Disconnect."""
        self._client.disconnect()
        self._client.loop_stop()

    def _on_message(self, _client: Any, _userdata: Any, message: mqtt.MQTTMessage) -> None:
        at_s = time.perf_counter()
        with self._lock:
            self._heard.append(Heard(at_s, message.topic, len(message.topic.encode()) + len(message.payload)))


class Fleet:
    """A context manager: everything runs inside of the block and is ended after it.

    Args:
        folder: for state and logs.
        keys: the host's.

    Attributes:
        address: HOST:PORT of the agent's inference server; ``host``: a client of the controller.
    """

    def __init__(self, folder: Path, keys: Keys) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self._keys = folder, keys
        self._processes = Processes(folder / "logs")
        self.broker_port = free_port()
        self.address = f"127.0.0.1:{free_port()}"
        self.host: HostClient

    def __enter__(self) -> Fleet:
        self._processes.__enter__()
        try:
            self._start()
        except BaseException:
            self._processes.__exit__()
            raise
        return self

    def __exit__(self, *raised: object) -> None:
        self.host.__exit__()
        self._processes.__exit__()

    def _start(self) -> None:
        broker, state = f"mqtt://127.0.0.1:{self.broker_port}", self._folder / "host"
        self._processes.start("broker", "secateur.fleet.broker", "--port", str(self.broker_port))
        self._processes.start(
            "host", "secateur.cli", "serve", "--broker", broker, "--listen", "127.0.0.1:0",
            "--state", str(state), "--keys", str(self._keys.folder),
        )  # fmt: skip
        # Intervals are the defaults: a decision each second, a report every 5 s.
        settings = {
            "device": DEVICE,
            "profile": PROFILE,
            "broker": broker,
            "state_dir": "state",
            "trust_root": str(self._keys.root_path.resolve()),
            "listen": self.address,
        }
        config = self._folder / "agent.toml"
        config.write_text("".join(f'{key} = "{value}"\n' for key, value in settings.items()))
        self._processes.start("agent", "secateur_agent", "run", "--config", str(config))
        self.wait("the host's API", lambda: (state / "host.json").exists())
        self.host = HostClient.find(state)
        self.wait("the agent online", lambda: any(each["state"] == "ready" for each in self.host.devices()))

    def wait(self, what: str, ready: Callable[[], bool], limit_s: float = LIMIT_S) -> None:
        """Wait until ``ready``.

        Raises:
            secateur.demo.processes.DemoError: if it takes longer, or a process ends.
        """
        self._processes.wait_for(what, ready, limit_s)

    def install(self, bundle: BundleFolder) -> None:
        """Push a bundle and wait until the device serves it."""
        self.host.push(bundle.path, [DEVICE])
        self.wait(
            "the model committed", lambda: self.reported().get("install") == "committed" and bool(self.reported()["rung"])
        )

    def reported(self) -> dict[str, Any]:
        """Return the device's reported shadow, empty before the first."""
        return self.host.device(DEVICE)["reported"] or {}

    def supervisor(self) -> psutil.Process:
        """Return the agent's supervisor process."""
        config = str(self._folder / "agent.toml")
        for process in psutil.Process().children():
            line = process.cmdline()
            if "secateur_agent" in line and config in line:
                return process
        raise RuntimeError("the agent does not run")
