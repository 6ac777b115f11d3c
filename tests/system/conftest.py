"""Fixtures of the system tests: keys, the agent as a real process, a host in the test's hands."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest
from sklearn.datasets import load_digits
from tests.bundle_factory import make_bundle
from tests.embedded_broker import BrokerProcess
from tests.ports import free_port
from tests.scripted_device import HostProcess
from tests.system.scripted_host import ScriptedHost
from tests.system.stack import Stack
from tests.system.witness import Witness

from secateur.bundle.keys import Keys, create_keys

DEVICE = "board-1"


class AgentProcess:
    """``secateur-agent run`` as a process. Attributes: ``address`` (HOST:PORT of inference), ``config``, ``state``,
    ``environment`` (variables that it gets on top)."""

    def __init__(self, folder: Path, keys: Keys, broker_url: str = "", **settings: object) -> None:
        self.address = f"127.0.0.1:{free_port()}"
        self.config = folder / "agent.toml"
        self.state = folder / "state"
        self.log = folder / "agent.log"
        self.environment: dict[str, str] = {}
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
            self._process = subprocess.Popen(command, stdout=log, stderr=log, env=os.environ | self.environment)

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


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small convolutional network as a file, and ``task.npz`` beside it."""
    import torch  # takes seconds: no other test should wait for it
    from torch import nn

    folder = tmp_path_factory.mktemp("model")
    torch.manual_seed(0)
    layers = [nn.Conv2d(1, 24, 3, 1, 1), nn.ReLU(), nn.Conv2d(24, 24, 3, 1, 1), nn.ReLU()]
    module = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(24, 10)).eval()
    names = {"input_names": ["x"], "output_names": ["y"], "dynamic_axes": {"x": {0: "n"}, "y": {0: "n"}}}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(module, (torch.zeros(2, 1, 8, 8),), str(folder / "net.onnx"), dynamo=False, **names)
    found = load_digits()
    x, y = (found.images[:, None] / 8 - 1).astype(np.float32), found.target.astype(np.int64)
    np.savez(folder / "task.npz", x_train=x[:320], x_test=x[320:640], y_train=y[:320], y_test=y[320:640])
    return folder / "net.onnx"


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


@pytest.fixture(scope="session")
def installed_state(tmp_path_factory: pytest.TempPathFactory, keys: Keys) -> Path:
    """The state folder of an agent on which the toy bundle was installed by hand; copy it."""
    folder = tmp_path_factory.mktemp("installed")
    agent = AgentProcess(folder, keys)
    installed = agent.command("install", str(make_bundle(folder, keys)))
    assert installed.returncode == 0, installed.stderr
    return agent.state


@pytest.fixture
def installed(make_agent: Callable[..., AgentProcess], installed_state: Path) -> Callable[..., AgentProcess]:
    """Like ``make_agent``, but the agent has the toy bundle installed."""

    def make(broker_url: str = "", **settings: object) -> AgentProcess:
        agent = make_agent(broker_url, **settings)
        shutil.copytree(installed_state, agent.state)
        return agent

    return make


@pytest.fixture
def witness(broker: BrokerProcess) -> Iterator[Witness]:
    """A client that hears everything."""
    listening = Witness(broker.port, DEVICE)
    yield listening
    listening.close()


@pytest.fixture
def make_stack(
    broker: BrokerProcess, keys: Keys, tmp_path: Path, installed: Callable[..., AgentProcess]
) -> Iterator[Callable[..., Stack]]:
    """A function that starts the whole stack, the toy bundle installed:
    ``make_stack(*options of serve, environment={variables of the agent}, **settings of the agent)``."""
    hosts: list[HostProcess] = []

    def make(*options: str, environment: dict[str, str] | None = None, **settings: object) -> Stack:
        folder = tmp_path / "host"
        folder.mkdir()
        hosts.append(HostProcess(folder, broker.url, "--keys", str(keys.folder), *options))
        agent = installed(broker.url, **settings)
        agent.environment = environment or {}
        stack = Stack(DEVICE, broker, hosts[-1], agent)
        stack.start()
        return stack

    yield make
    for host in hosts:
        host.kill()
