"""The whole stack in processes of their own: broker, host, agent with its worker. Any of them can be killed."""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import psutil
import tritonclient.http as triton
from tests.bundle_factory import toy_base, toy_output, toy_rung
from tests.embedded_broker import BrokerProcess
from tests.scripted_device import HostProcess

from secateur_agent.protocol.messages import Reported

X = np.array([[0.5, -1.0, 2.0, 0.25]], np.float32)


class Agent(Protocol):
    """What is needed of the agent's process."""

    address: str
    state: Path

    @property
    def pid(self) -> int: ...

    @property
    def worker_pid(self) -> int: ...

    def start(self) -> None: ...

    def kill(self) -> None: ...

    def stop(self) -> int: ...


def infer(agent: Agent, name: str = "toy", binary: bool = True) -> tuple[np.ndarray[Any, Any], str]:
    """Infer with the stock client; return the output and the rung that computed it."""
    client = triton.InferenceServerClient(agent.address, connection_timeout=30, network_timeout=30)
    try:
        x = triton.InferInput("x", list(X.shape), "FP32")
        x.set_data_from_numpy(X, binary_data=binary)
        result = client.infer(name, [x], outputs=[triton.InferRequestedOutput("y", binary_data=binary)])
        return result.as_numpy("y"), result.get_response()["parameters"]["rung"]
    finally:
        client.close()


def infer_soon(agent: Agent, name: str = "toy", seconds: float = 40) -> tuple[np.ndarray[Any, Any], str]:
    """Infer as soon as the device serves."""
    deadline_s = time.monotonic() + seconds
    while True:
        try:
            return infer(agent, name)
        except Exception:
            if time.monotonic() > deadline_s:
                raise
            time.sleep(0.05)


def expected(width: int) -> np.ndarray[Any, Any]:
    """What the toy's rung of this width answers."""
    return toy_output(toy_base(), toy_rung(toy_base(), width), X)


class Stack:
    """Broker, host and agent of one device. Call `start` when the agent is set up."""

    def __init__(self, device: str, broker: BrokerProcess, host: HostProcess, agent: Agent) -> None:
        self.device = device
        self.broker = broker
        self.host = host
        self.agent = agent

    def start(self) -> None:
        """Start host and agent; wait until the host knows the device."""
        self.host.start()
        self.agent.start()
        self.eventually("birth", lambda: [d for d in self._devices() if d["device"] == self.device and d["profile"]])

    def push(self, bundle: Path, chunk_kib: int = 16) -> str:
        """Push a bundle to the device; return the digest of its manifest."""
        with self.host.client() as client:
            return str(client.push(bundle, [self.device], chunk_kib=chunk_kib)["manifest_sha256"])

    def call(self, method: str, *arguments: Any) -> Any:
        """Call a method of the host's client."""
        with self.host.client() as client:
            return getattr(client, method)(*arguments)

    def kill_and_restart(self, victim: str) -> None:
        """SIGKILL a process; then do what systemd would (for the worker, that is the agent's own business)."""
        if victim == "worker":
            os.kill(self.agent.worker_pid, signal.SIGKILL)
        elif victim == "agent":
            self.agent.kill()
            self.agent.start()
        elif victim == "host":
            self.host.kill()
            self.host.start()
        else:
            self.broker.kill()
            self.broker.start()

    def committed(self, manifest_sha256: str) -> Reported | None:
        """The reported shadow, if this model is committed and serves."""
        found = self.call("device", self.device)["reported"]
        done = found and found["manifest_sha256"] == manifest_sha256 and found["install"] == "committed" and found["rung"]
        return found if done else None

    def wait_committed(self, manifest_sha256: str) -> Any:
        """Wait until the host knows that this model is committed and serves."""
        return self.eventually("commit", lambda: self.committed(manifest_sha256))

    def command_status(self, command_id: str) -> str:
        """The status of a command as the host knows it, '' if it does not."""
        found = [command for command in self.call("commands", self.device) if command["id"] == command_id]
        return str(found[0]["status"]) if found else ""

    def helpers(self, module: str) -> list[psutil.Process]:
        """The agent's running helper processes of a module."""
        found = []
        for child in psutil.Process(self.agent.pid).children():
            with contextlib.suppress(psutil.NoSuchProcess):
                if module in child.cmdline():
                    found.append(child)
        return found

    def stored(self) -> dict[str, list[int]]:
        """Boot → seqs of the samples in the host's database, in order of arrival."""
        query = "SELECT boot, seq FROM samples WHERE device = ? ORDER BY id"
        with contextlib.closing(sqlite3.connect(self.host.state / "fleet.sqlite", timeout=30)) as database:
            rows = database.execute(query, (self.device,)).fetchall()
        found: dict[str, list[int]] = {}
        for boot, seq in rows:
            found.setdefault(boot, []).append(seq)
        return found

    def outbox(self) -> tuple[dict[str, int], dict[str, list[int]]]:
        """Of the agent's outbox: boot → last number given out, boot → numbers not acknowledged yet."""
        with contextlib.closing(sqlite3.connect(self.agent.state / "outbox.sqlite", timeout=30)) as database:
            last = dict(database.execute("SELECT boot, last_seq FROM boots").fetchall())
            rows = database.execute("SELECT boot, seq FROM samples ORDER BY row").fetchall()
        held: dict[str, list[int]] = {}
        for boot, seq in rows:
            held.setdefault(boot, []).append(seq)
        return last, held

    def assert_no_sample_is_lost_or_stored_twice(self, acknowledged: dict[str, int]) -> None:
        """Stop the agent, then compare what it gave out, what it holds, what was acknowledged, and what is stored."""
        assert self.agent.stop() == 0
        last, held = self.outbox()
        stored = self.stored()
        assert stored
        for boot, seqs in stored.items():
            assert len(seqs) == len(set(seqs)), f"{boot}: stored twice"
            assert set(range(1, acknowledged.get(boot, 0) + 1)) <= set(seqs), f"{boot}: acknowledged and not stored"
        for boot, seq in last.items():
            missing = set(range(1, seq + 1)) - set(stored.get(boot, [])) - set(held.get(boot, []))
            assert not missing, f"{boot}: {sorted(missing)} of {seq} neither stored nor held"

    def eventually(self, what: str, check: Callable[[], Any], seconds: float = 60.0) -> Any:
        """Wait until ``check`` returns something true, and return it."""
        deadline_s = time.monotonic() + seconds
        while time.monotonic() < deadline_s:
            if result := check():
                return result
            time.sleep(0.05)
        raise AssertionError(f"not within {seconds:g} s: {what}")

    def _devices(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.call("devices")
        return found
