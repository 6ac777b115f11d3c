"""Fixtures of the system tests: keys, the agent as a real process, a host in the test's hands."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from tests.conftest import BrokerProcess, free_port
from tests.system.scripted_host import ScriptedHost

from secateur.bundle.keys import Keys, create_keys

DEVICE = "board-1"


class AgentProcess:
    """``secateur-agent run`` as a process. Attributes: ``address`` (HOST:PORT of inference), ``config``, ``state``."""

    def __init__(self, folder: Path, keys: Keys, broker_url: str = "", **settings: object) -> None:
        self.address = f"127.0.0.1:{free_port()}"
        self.config = folder / "agent.toml"
        self.state = folder / "state"
        self.log = folder / "agent.log"
        values = {
            "device": DEVICE,
            "profile": "linux-x86-64",
            "broker": broker_url,
            "state_dir": str(self.state),
            "trust_root": str(keys.root_path),
            "listen": self.address,
            "tick_s": 0.2,
            "report_s": 0.4,
            **settings,
        }
        lines = [f"{key} = {value}" if isinstance(value, float) else f'{key} = "{value}"' for key, value in values.items()]
        self.config.write_text("\n".join(lines) + "\n")
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Process id of the supervisor."""
        assert self._process is not None
        return self._process.pid

    @property
    def worker_pid(self) -> int:
        """Process id of the worker."""
        deadline_s = time.monotonic() + 20
        while time.monotonic() < deadline_s:
            for child in psutil.Process(self.pid).children():
                if "secateur_agent.inference.worker" in child.cmdline():
                    return child.pid
            time.sleep(0.02)
        raise AssertionError("no worker")

    def start(self) -> None:
        """Start it."""
        with self.log.open("ab") as log:
            command = [sys.executable, "-m", "secateur_agent", "run", "--config", str(self.config)]
            self._process = subprocess.Popen(command, stdout=log, stderr=log)

    def kill(self) -> None:
        """SIGKILL it, as a power cut would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def stop(self) -> int:
        """SIGTERM it; return its exit status."""
        assert self._process is not None
        os.kill(self.pid, signal.SIGTERM)
        status = self._process.wait(20)
        self._process = None
        return status

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run another subcommand with the same configuration."""
        command = [sys.executable, "-m", "secateur_agent", *arguments, "--config", str(self.config)]
        return subprocess.run(command, capture_output=True, text=True, timeout=60)


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    """Signing keys of the host."""
    return create_keys(tmp_path_factory.mktemp("keys"))


@pytest.fixture
def make_agent(tmp_path: Path, keys: Keys) -> Iterator[Callable[..., AgentProcess]]:
    """A function that sets an agent up: ``make_agent(broker_url="", **settings)``; it is not started yet."""
    agents: list[AgentProcess] = []

    def make(broker_url: str = "", **settings: object) -> AgentProcess:
        folder = tmp_path / f"agent-{len(agents)}"
        folder.mkdir()
        agents.append(AgentProcess(folder, keys, broker_url, **settings))
        return agents[-1]

    yield make
    for agent in agents:
        agent.kill()


@pytest.fixture
def host(broker: BrokerProcess, keys: Keys) -> Iterator[ScriptedHost]:
    """A host that talks to device `DEVICE`."""
    scripted = ScriptedHost(broker.port, DEVICE, keys)
    yield scripted
    scripted.close()
