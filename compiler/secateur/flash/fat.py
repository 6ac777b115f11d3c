"""Files in a FAT partition inside an image file or block device, through mtools: nothing is mounted, no root is needed."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import struct
import subprocess
from collections.abc import Mapping
from pathlib import Path

from secateur.flash.errors import FlashError
from secateur.flash.medium import settle
from secateur.flash.partitions import Partition

_FREE = re.compile(r"^\s*([0-9 ]+) bytes free\s*$", re.MULTILINE)
_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}(?:/[A-Za-z0-9][A-Za-z0-9._-]{0,99})?")
# The user's own configuration and locale must not change what the tools do.
_ENVIRONMENT = {"MTOOLSRC": os.devnull, "MTOOLS_SKIP_CHECK": "1", "LC_ALL": "C.UTF-8"}
_TIMEOUT_S = 600


class FatPartition:
    """A FAT12, FAT16 or FAT32 file system at an offset.

    Args:
        path: the image file or block device.
        partition: where in it.

    Raises:
        FlashError: if it is not a FAT file system, or mtools is not installed.
    """

    def __init__(self, path: Path, partition: Partition) -> None:
        self.path = path
        self._at = f"{path}@@{partition.start}"
        if shutil.which("mcopy") is None:
            raise FlashError("mtools is not installed, which writes to boot partitions; 'sudo apt install mtools'")
        with path.open("rb") as file:
            file.seek(partition.start)
            sector = file.read(512)
        self.cluster_bytes = _cluster_bytes(sector, partition, f"{path}: partition {partition.number}")

    def names(self, folder: str = "") -> list[str]:
        """Return the names in the root or in a folder, those of folders with a '/' at their end.

        Raises:
            FlashError: if there is no such folder.
        """
        prefix = f"::/{folder}/" if folder else "::/"
        listing = self._run("mdir", "-a", "-b", prefix).decode("utf-8", "replace")
        return [line.removeprefix(prefix) for line in listing.splitlines() if line.startswith(prefix) and line != prefix]

    def has(self, name: str) -> bool:
        """Whether there is such a file; names differ by more than case."""
        folder, _, file = name.rpartition("/")
        if folder and not self._has_folder(folder):
            return False
        return file.lower() in (found.lower() for found in self.names(folder))

    def read(self, name: str) -> bytes:
        """Return the content of a file.

        Raises:
            FlashError: if there is none.
        """
        return self._run("mcopy", "-n", f"::/{_plain(name)}", "-")

    def text(self, name: str) -> str:
        """Return the text of a file, '' if there is none. Bytes that are not text come back as they were when encoded so."""
        return self.read(name).decode("utf-8", "surrogateescape") if self.has(name) else ""

    def write(self, name: str, content: bytes | Path) -> None:
        """Write a file, replacing one that is there; its folder is made.

        Raises:
            FlashError: if it does not fit.
        """
        folder, _, _ = _plain(name).rpartition("/")
        if folder and not self._has_folder(folder):
            self._run("mmd", f"::/{folder}")
        if isinstance(content, Path):
            self._run("mcopy", "-o", str(content), f"::/{name}")
        else:
            self._run("mcopy", "-o", "-", f"::/{name}", content=content)

    def remove(self, name: str) -> None:
        """Remove a file, or a folder with all in it; does nothing if there is none."""
        if self._has_folder(name):
            self._run("mdeltree", f"::/{_plain(name)}")
        elif self.has(name):
            self._run("mdel", f"::/{_plain(name)}")

    def free_bytes(self) -> int:
        """Return how many bytes are free, in whole clusters."""
        found = _FREE.search(self._run("mdir", "::/").decode("utf-8", "replace"))
        if found is None:
            raise FlashError(f"{self.path}: mtools does not tell how much is free in the boot partition")
        return int(found[1].replace(" ", ""))

    def set_label(self, label: str) -> None:
        """Give the file system a name."""
        self._run("mlabel", f"::{label}")

    def label(self) -> str:
        """Return the file system's name, '' if it has none."""
        told = self._run("mlabel", "-s", "::").decode("utf-8", "replace")
        return told.partition("label is ")[2].strip()

    def require_free(self, contents: Mapping[str, int]) -> None:
        """Make sure that files will fit before the first is written.

        Args:
            contents: name → bytes of each; what a file of the same name frees is not counted.

        Raises:
            FlashError: if they do not.
        """
        # A cluster for each name's entries in its folder: too much, never too little.
        needed = (
            sum((size + self.cluster_bytes - 1) // self.cluster_bytes + 1 for size in contents.values()) * self.cluster_bytes
        )
        free = self.free_bytes()
        if needed > free:
            raise FlashError(
                f"{self.path}: the boot partition has {free / 1e6:.0f} MB free, {needed / 1e6:.0f} are needed; "
                "take an image with a larger one, or a profile with a smaller runtime"
            )

    def verify(self, digests: Mapping[str, str]) -> None:
        """Read files back from the medium and compare them.

        Args:
            digests: name → SHA-256 in hexadecimal.

        Raises:
            FlashError: if one differs.
        """
        settle(self.path)
        for name, digest in digests.items():
            if hashlib.sha256(self.read(name)).hexdigest() != digest:
                raise FlashError(f"{self.path}: {name} reads back differently than it was written; the medium is worn out")

    def _has_folder(self, name: str) -> bool:
        return f"{name.lower()}/" in (found.lower() for found in self.names())

    def _run(self, tool: str, *arguments: str, content: bytes | None = None) -> bytes:
        command = [tool, *([arguments[0]] if arguments[0].startswith("-") and arguments[0] != "-" else [])]
        rest = arguments[len(command) - 1 :]
        try:
            done = subprocess.run(
                [*command, "-i", self._at, *rest],
                input=content if content is not None else b"",
                capture_output=True,
                env={**os.environ, **_ENVIRONMENT},
                timeout=_TIMEOUT_S,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise FlashError(
                f"{self.path}: boot partition: {tool} takes longer than {_TIMEOUT_S:.0f} s; is the card or its reader dying?"
            ) from None
        if done.returncode:
            why = " ".join(done.stderr.decode("utf-8", "replace").split()) or f"exit status {done.returncode}"
            raise FlashError(f"{self.path}: boot partition: {tool} {rest[-1]} failed: {why}")
        return done.stdout


def _plain(name: str) -> str:
    """Return a name that has nothing which mtools would interpret."""
    if not _PLAIN.fullmatch(name):
        raise FlashError(f"{name!r}: not a name of a file in a boot partition")
    return name


def _cluster_bytes(sector: bytes, partition: Partition, where: str) -> int:
    """Check the boot sector and return the bytes of a cluster (Microsoft FAT specification 1.03)."""
    if len(sector) < 512 or sector[510:512] != b"\x55\xaa":
        raise FlashError(f"{where}: not a FAT file system, as its type says")
    bytes_per_sector, sectors_per_cluster, reserved, fats = struct.unpack_from("<HBHB", sector, 11)
    total = struct.unpack_from("<H", sector, 19)[0] or struct.unpack_from("<I", sector, 32)[0]
    if (
        bytes_per_sector not in (512, 1024, 2048, 4096)
        or sectors_per_cluster not in (1, 2, 4, 8, 16, 32, 64, 128)
        or reserved == 0
        or fats not in (1, 2)
        or not 0 < total * bytes_per_sector <= partition.size
    ):
        raise FlashError(f"{where}: not a FAT file system, as its type says")
    return int(bytes_per_sector * sectors_per_cluster)
