"""Files that survive a power cut: written beside, flushed, renamed, and the folder flushed."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from pathlib import Path

_PIECE = 1 << 20


def write(path: Path, content: bytes, mode: int = 0o644, owner: tuple[int, int] | None = None) -> None:
    """Replace a file as a whole. The folder may be another account's: a link that lies there is replaced, never followed."""
    draft = path.with_name(f".{path.name}.draft")
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fchmod(descriptor, mode)
        if owner is not None:
            os.fchown(descriptor, *owner)
        os.fsync(descriptor)
    os.replace(draft, path)
    flush_folder(path.parent)


def link(path: Path, to: str) -> None:
    """Make or change a symbolic link as a whole."""
    draft = path.with_name(f".{path.name}.draft")
    draft.unlink(missing_ok=True)
    draft.symlink_to(to)
    os.replace(draft, path)
    flush_folder(path.parent)


def wipe(path: Path) -> None:
    """Overwrite a file with zeros and remove it. On flash memory the old block may survive inside the card's controller."""
    try:
        size = path.stat().st_size
        with path.open("r+b") as file:
            file.write(b"\0" * size)
            file.flush()
            os.fsync(file.fileno())
        path.unlink()
    except FileNotFoundError:
        return
    flush_folder(path.parent)


def flush_folder(path: Path) -> None:
    """Bring a folder's entries to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError:
        pass  # FAT under some kernels does not do folders; the files themselves were flushed
    finally:
        os.close(descriptor)


def read_foreign(path: Path, most: int) -> bytes:
    """Read a small file of a folder that another account owns: no link, no pipe that would never end.

    Raises:
        OSError: if it is not there, or not a regular file.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "not a regular file", str(path))
        return os.read(descriptor, most)
    finally:
        os.close(descriptor)


def sha256(path: Path) -> str:
    """Return a file's digest."""
    found = hashlib.sha256()
    with path.open("rb") as file:
        while True:
            piece = file.read(_PIECE)
            if not piece:
                return found.hexdigest()
            found.update(piece)
