"""Starts the broker, the host and the agents as processes of their own, and ends them."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from secateur.ir import SecateurError


class DemoError(SecateurError):
    """A part of the demonstration did not do what it should."""


def free_port() -> int:
    """Return a TCP port of the loopback address that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Processes:
    """Child processes with a log file each; a context manager that ends them in reverse order."""

    def __init__(self, logs: Path) -> None:
        self._logs = logs
        self._children: list[tuple[str, subprocess.Popen[bytes]]] = []
        logs.mkdir(parents=True, exist_ok=True)

    def __enter__(self) -> Processes:
        return self

    def __exit__(self, *raised: object) -> None:
        for _, child in reversed(self._children):
            if child.poll() is None:
                child.terminate()
        for _, child in reversed(self._children):
            try:
                child.wait(timeout=8)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()

    def start(self, name: str, module: str, *arguments: str) -> None:
        """Start ``python -m module arguments``; one thread for numeric libraries, for cores are few."""
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
        with open(self._logs / f"{name}.log", "wb") as log:
            command: Sequence[str] = [sys.executable, "-m", module, *arguments]
            # A session of its own: Ctrl-C reaches this process alone, which then ends the children in order.
            child = subprocess.Popen(
                command,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=environment,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        self._children.append((name, child))

    def check(self) -> None:
        """Raise if a process has ended by itself.

        Raises:
            DemoError: with the last line of its log.
        """
        for name, child in self._children:
            if child.poll() is not None:
                lines = (self._logs / f"{name}.log").read_text(errors="replace").strip().splitlines()
                last = lines[-1] if lines else "it printed nothing"
                raise DemoError(f"demo: {name} ended with status {child.returncode}: {last} (see {self._logs / name}.log)")

    def wait_for(self, what: str, ready: Callable[[], bool], limit_s: float = 60.0) -> None:
        """Wait until ``ready`` returns True, while all processes live.

        Raises:
            DemoError: if it takes longer than ``limit_s``, or a process ends.
        """
        deadline = time.monotonic() + limit_s
        while not ready():
            self.check()
            if time.monotonic() > deadline:
                raise DemoError(f"demo: {what} did not happen within {limit_s:.0f} s (logs in {self._logs})")
            time.sleep(0.1)
