"""What the tests of the boards measured, in build/boards.json: one entry a test, the newest run wins."""

from __future__ import annotations

import json
import os
import platform
from pathlib import Path
from typing import Any

from tests.boards.build_cache import PROJECT

RESULTS = PROJECT / "build" / "boards.json"
_NOTE = (
    "Emulated boards: QEMU translates arm64 to this machine's code. Times are this machine's, under the load it had, and "
    "tell nothing about a real board's speed."
)


class Recorder:
    """Collects the figures of one run.

    Args:
        path: the file; entries of tests that this run does not touch stay.
    """

    def __init__(self, path: Path = RESULTS) -> None:
        self._path = path
        self._entries: dict[str, dict[str, Any]] = {}

    def start(self, test: str) -> None:
        """A test begins: what it recorded last time is forgotten."""
        self._entries[test] = {"load_at_start": round(os.getloadavg()[0], 1)}

    def figure(self, test: str, name: str, value: float | int | str) -> None:
        """Keep a figure; its unit is the end of its name (`boot_s`)."""
        self._entries[test][name] = round(value, 2) if isinstance(value, float) else value

    def outcome(self, test: str, outcome: str, seconds: float) -> None:
        """A test ended, `passed` or `failed`. Writes the file."""
        self._entries[test] |= {"outcome": outcome, "took_s": round(seconds, 1)}
        machine = {"machine": platform.machine(), "cores": os.cpu_count(), "emulated": True, "note": _NOTE}
        # Read only now: another run may have ended meanwhile.
        others = json.loads(self._path.read_text())["tests"] if self._path.exists() else {}
        draft = self._path.with_suffix(".draft")
        draft.parent.mkdir(parents=True, exist_ok=True)
        draft.write_text(json.dumps({**machine, "tests": others | self._entries}, indent=1, sort_keys=True) + "\n")
        draft.replace(self._path)
