"""Fixtures that several test folders share, and the order that tests begin in."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest

# Their tests wait for other processes. They begin first, and there is one worker more than cores (see the Makefile): work of
# others fills the waits, and nothing long is left for the end.
_FIRST = ("tests/system/", "tests/compiler/flash/", "tests/compiler/cli/")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put tests in the order they are to begin in; within a file it stays."""
    items.sort(
        key=lambda item: next((rank for rank, folder in enumerate(_FIRST) if item.nodeid.startswith(folder)), len(_FIRST))
    )


def free_port() -> int:
    """Return a TCP port of the loopback interface that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


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


@pytest.fixture
def broker() -> Iterator[BrokerProcess]:
    """A running broker of this test alone: ``.port``, ``.url``, ``.pid``, ``.kill()``, ``.start()``."""
    process = BrokerProcess()
    process.start()
    try:
        yield process
    finally:
        process.kill()
