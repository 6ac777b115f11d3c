"""Payloads with a small environment, for tests of the setup program; made without the host's code."""

from __future__ import annotations

import io
import json
import platform
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from secateur_agent.board import files as board_files
from secateur_agent.board.layout import UNIT

MakePayload = Callable[..., Path]
PYTHON = ".".join(platform.python_version_tuple()[:2])


def archive(members: dict[str, bytes]) -> bytes:
    """An environment with these files."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as tar:
        for name, data in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    return content.getvalue()


def write_payload(parent: Path, release: str = "one", secrets: bool = True, **changes: Any) -> Path:
    """Write a payload whose environment has a module ``hello`` that knows its release."""
    folder = parent / f"payload-{release}"
    folder.mkdir(exist_ok=True)
    content: dict[str, tuple[bytes, bool]] = {
        "environment.tar.gz": (archive({"site-packages/hello.py": f"name = {release!r}\n".encode()}), False),
        "agent.toml": (f"# of {release}\n".encode(), False),
        "root.json": (b"{}\n", False),
        UNIT: (f"# unit of {release}\n".encode(), False),
        "secateur-setup.pyz": (b"program", False),
    }
    if secrets:
        content |= {"broker-password": (b"secret\n", True), "enrolment-token": (b"token\n", True)}
    for name, (data, _) in content.items():
        (folder / name).write_bytes(data)
    table = {
        "v": 1,
        "device": "cam-1",
        "release": release,
        "python": PYTHON,
        "machine": platform.machine(),
        "unpacked_bytes": 1000,
        "clock_s": 1_700_000_000,
        "files": {
            name: {"sha256": board_files.sha256(folder / name), "size": len(data), "secret": secret}
            for name, (data, secret) in content.items()
        },
    } | changes
    (folder / "provision.json").write_text(json.dumps(table))
    return folder
