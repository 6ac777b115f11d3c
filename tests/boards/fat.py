"""The FAT boot partition inside an image file, by mtools: no mount, so that it works in any container."""

from __future__ import annotations

import struct
import subprocess
import tempfile
from pathlib import Path

from tests.boards.build_cache import run

_SECTOR = 512
_FAT_TYPES = (0x0B, 0x0C, 0x0E)


def boot_partition(image: Path) -> tuple[int, int]:
    """Where the first FAT partition is, from the MBR.

    Returns:
        Offset and size in bytes.

    Raises:
        ValueError: there is none.
    """
    with image.open("rb") as file:
        mbr = file.read(_SECTOR)
    for entry in range(446, 510, 16):
        kind, start, sectors = struct.unpack_from("<4xB3xII", mbr, entry)
        if kind in _FAT_TYPES:
            return start * _SECTOR, sectors * _SECTOR
    raise ValueError(f"{image}: no FAT partition in its MBR")


class BootPartition:
    """Reads and writes files of an image's FAT partition. The board that uses the image must be off."""

    def __init__(self, image: Path) -> None:
        self._drive = f"{image}@@{boot_partition(image)[0]}"

    def names(self, folder: str = "") -> list[str]:
        """Names of the files and folders in a folder."""
        listing = run("mdir", "-b", "-a", "-i", self._drive, f"::/{folder}")
        return sorted(line.rstrip("/").rsplit("/", 1)[-1] for line in listing.splitlines() if line.startswith("::"))

    def read(self, name: str) -> bytes:
        """Content of a file.

        Raises:
            FileNotFoundError: there is none of that name.
        """
        done = subprocess.run(["mtype", "-i", self._drive, f"::/{name}"], capture_output=True)
        if done.returncode != 0:
            raise FileNotFoundError(f"{name} on the boot partition: {done.stderr.decode(errors='replace').strip()}")
        return done.stdout

    def extract(self, name: str, target: Path) -> None:
        """Copy a file out of the partition."""
        run("mcopy", "-n", "-o", "-i", self._drive, f"::/{name}", target)

    def write(self, name: str, content: bytes) -> None:
        """Write or replace a file."""
        with tempfile.NamedTemporaryFile() as file:
            file.write(content)
            file.flush()
            run("mcopy", "-o", "-i", self._drive, file.name, f"::/{name}")
