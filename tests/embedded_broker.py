"""Secateur's embedded broker as a process."""

from __future__ import annotations

import subprocess
import sys

from tests.ports import free_port


class BrokerProcess:
    """The embedded broker in a process of its own, so that a test can kill and restart it on the same port."""

    def __init__(self) -> None:
        self.port = free_port()
        self._process: subprocess.Popen[str] | None = None

    @property
    def url(self) -> str:
        """The broker's address as the agent's configuration takes it."""
        return f"mqtt://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        """Process id of the running broker."""
        assert self._process is not None, "the broker is not running"
        return self._process.pid

    def start(self) -> None:
        """Start it and wait until it is ready. Does nothing if it runs."""
        if self._process is not None:
            return
        command = [sys.executable, "-m", "secateur.fleet.broker", "--host", "127.0.0.1", "--port", str(self.port)]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if "ready" not in line:
            self.kill()
            raise RuntimeError(f"the broker did not start: {line!r}")

    def kill(self) -> None:
        """SIGKILL it, as a power cut would: it forgets everything."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            assert self._process.stdout is not None
            self._process.stdout.close()
            self._process = None
