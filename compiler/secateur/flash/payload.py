"""The payload: a folder with all that a board gets. The setup program installs it there; no network is needed."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from secateur_agent.store.blobs import file_digest

FOLDER = "secateur"
"""Name of the folder on a boot partition."""
SETUP_PROGRAM = "secateur-setup.pyz"
"""Run on the board as root: ``python3 <folder>/secateur-setup.pyz install <folder>``."""
ENVIRONMENT = "environment.tar.gz"
"""The agent's packages; by far the largest file."""
BOARD_PYTHON = "/usr/bin/python3"
"""A system's own Python: a service must not run one of somebody's home."""
INSTALLED_PROGRAM = f"/opt/secateur/{SETUP_PROGRAM}"
"""Where the setup program is on a board once it has run."""


class PayloadError(ValueError):
    """A file of the payload cannot be read or written."""


@dataclass(frozen=True)
class PayloadFile:
    """One file: bytes, or the path of one too large to hold. ``secret``: wiped from the boot partition after setup."""

    source: Path | bytes
    secret: bool = False

    @property
    def size(self) -> int:
        """Bytes of the content."""
        return len(self.source) if isinstance(self.source, bytes) else self.source.stat().st_size

    def read(self) -> bytes:
        """Return the content."""
        return self.source if isinstance(self.source, bytes) else self.source.read_bytes()

    def sha256(self) -> str:
        """Return the digest of the content in hexadecimal."""
        if isinstance(self.source, bytes):
            return hashlib.sha256(self.source).hexdigest()
        with self.source.open("rb") as file:
            return file_digest(file)


@dataclass(frozen=True)
class Payload:
    """All files for one board, by flat name."""

    device: str
    files: Mapping[str, PayloadFile] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """Bytes of all files together."""
        return sum(file.size for file in self.files.values())

    def write(self, folder: Path) -> None:
        """Write all files into a folder, secrets readable by their owner alone.

        Raises:
            PayloadError: if the folder cannot be written.
        """
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            for name, file in self.files.items():
                path = folder / name
                path.touch(mode=0o600 if file.secret else 0o644)
                path.write_bytes(file.read())
        except OSError as error:
            raise PayloadError(f"payload {folder}: cannot be written: {error.strerror}") from None
