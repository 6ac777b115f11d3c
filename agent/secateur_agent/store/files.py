"""Durable files: write, fsync, rename, fsync the folder."""

from __future__ import annotations

import contextlib
import errno
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

_TEMPORARY = ".tmp"

_REMEDY = {
    errno.ENOSPC: "free some space on this disk",
    errno.EDQUOT: "free some space on this disk",
    errno.EACCES: "give the agent's user write access to this folder",
    errno.EPERM: "give the agent's user write access to this folder",
    errno.EROFS: "mount it writable, or choose another state_dir",
    errno.EIO: "the disk fails; replace it",
}


class StoreError(ValueError):
    """The disk is full, not writable or damaged. What was there before is unharmed."""


def disk_error(doing: str, path: Path, error: OSError) -> StoreError:
    """Return the one line that says what could not be done where, and how to mend it."""
    reason = error.strerror or str(error) or type(error).__name__
    remedy = _REMEDY.get(error.errno or 0)
    return StoreError(f"cannot {doing} {path}: {reason}" + (f"; {remedy}" if remedy else ""))


def make_folder(path: Path) -> None:
    """Create a folder and its parents, durably. Does nothing if it is there.

    Raises:
        StoreError: if it cannot be created.
    """
    missing = [folder for folder in (path, *path.parents) if not folder.is_dir()]
    for folder in reversed(missing):
        try:
            folder.mkdir(exist_ok=True)
            sync_folder(folder.parent)
        except OSError as error:
            raise disk_error("create the folder", folder, error) from None


def sync_folder(path: Path) -> None:
    """Make renames and deletions in a folder durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    except OSError as error:
        # Some network and FUSE file systems cannot sync a folder; they have nothing more durable to offer.
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(descriptor)


def write_atomic(path: Path, data: bytes, mode: int = 0o644) -> None:
    """Write a file so that, whenever the power fails, it has either its old content or all of the new.

    Args:
        path: the file; its folder must exist.
        data: the content.
        mode: permissions, less the umask; 0o600 for secrets.

    Raises:
        StoreError: if it cannot be written; the old file is then unharmed.
    """

    def write(file: BinaryIO) -> None:
        file.write(data)

    write_atomic_with(path, write, mode)


def write_atomic_with(path: Path, write: Callable[[BinaryIO], None], mode: int = 0o644) -> None:
    """As `write_atomic`, for content that ``write`` produces piece by piece.

    Raises:
        StoreError: if it cannot be written; the old file is then unharmed.
    """
    # Process and thread in the name: two writers of one path never share a temporary file.
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}{_TEMPORARY}")
    try:
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
            with open(os.open(temporary, flags, mode), "wb") as file:
                write(file)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise
        sync_folder(path.parent)
    except OSError as error:
        raise disk_error("write", path, error) from None


def remove_leftovers(folder: Path) -> int:
    """Remove the temporary files that interrupted writes left in a folder. Call it only when nothing writes there.

    Returns:
        How many were removed.
    """
    removed = 0
    with contextlib.suppress(OSError):
        for path in folder.glob(f".*{_TEMPORARY}"):
            with contextlib.suppress(OSError):
                path.unlink()
                removed += 1
    return removed
