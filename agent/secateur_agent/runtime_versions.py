"""Which version of a runtime is installed, without importing it (or importlib.metadata, which weighs 2 MB)."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path


def runtime_version(runtime: str) -> str:
    """Return the installed version of a runtime, '' if there is none.

    Which distribution brings a runtime is written once: the agent has an extra of the runtime's name, whose first
    requirement it is. A distribution of the runtime's own name counts too, and so do variants such as ``onnxruntime_gpu``.

    Args:
        runtime: its name, as profiles spell it.
    """
    for distribution in (*_first_requirement(runtime), runtime):
        name = re.sub(r"[-_.]+", "_", distribution)
        pattern = re.compile(rf"{re.escape(name)}(?:_[a-z0-9]+)?-([0-9][^-]*)\.dist-info", re.IGNORECASE)
        for path in _installed():
            if match := pattern.fullmatch(path.name):
                return match[1]
    return ""


def _first_requirement(extra: str) -> list[str]:
    """The distribution that the agent's extra names first; nothing if it is not installed or has no such extra."""
    for path in _installed():
        if not path.name.startswith("secateur_agent-"):
            continue
        try:
            lines = (path / "METADATA").read_text("utf-8", "replace").splitlines()
        except OSError:
            continue
        pattern = re.compile(rf"Requires-Dist: ([A-Za-z0-9._-]+).*;.*extra == ['\"]{re.escape(extra)}['\"].*")
        return [match[1] for line in lines if (match := pattern.fullmatch(line))][:1]
    return []


def _installed() -> Iterator[Path]:
    for folder in sys.path:
        try:
            yield from sorted(path for path in Path(folder or ".").iterdir() if path.name.endswith(".dist-info"))
        except OSError:
            continue
