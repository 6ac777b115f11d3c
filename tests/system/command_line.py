"""The ``secateur`` command with folders of its own, against the controller of a stack."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.system.conftest import DEVICE
from tests.system.stack import Stack

from secateur.device_tables import UnderWay, decode_under_way


class Cli:
    """``secateur`` with folders of its own."""

    def __init__(self, folder: Path, stack: Stack) -> None:
        self.data = folder / "share"
        changes = {"XDG_DATA_HOME": self.data, "XDG_CONFIG_HOME": folder / "config", "SECATEUR_STATE": stack.host.state}
        self._environment = os.environ | {name: str(path) for name, path in changes.items()}

    def start(self, *arguments: object) -> subprocess.Popen[str]:
        """Start a command."""
        command = [sys.executable, "-m", "secateur.cli", *map(str, arguments)]
        pipe = subprocess.PIPE
        return subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env=self._environment)

    def run(self, *arguments: object) -> Any:
        """Run a command that must succeed; return its JSON."""
        process = self.start(*arguments, "--json")
        out, err = process.communicate(timeout=300)
        assert process.returncode == 0, err
        return json.loads(out)

    def refused(self, *arguments: object) -> str:
        """Run a command that must fail; return its one line."""
        process = self.start(*arguments)
        _, err = process.communicate(timeout=300)
        assert process.returncode == 1, err
        (line,) = [each for each in err.splitlines() if "files timed" not in each]
        return line

    def under_way(self) -> UnderWay | None:
        """What is known of the measurement that is not finished."""
        paths = list((self.data / "secateur" / "latency" / "devices" / DEVICE).glob("*.part"))
        return decode_under_way(paths[0].read_bytes()) if paths else None
