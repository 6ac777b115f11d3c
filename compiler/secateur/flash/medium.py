"""Bytes as they are on the medium, not as they are in the cache of the kernel."""

from __future__ import annotations

import fcntl
import hashlib
import mmap
import os
import stat
from contextlib import suppress
from pathlib import Path

from secateur.flash.errors import FlashError, Progress, silent

_BLKFLSBUF = 0x1261  # linux/fs.h
_BLOCK = 4 << 20
_SECTOR = 4096


def settle(path: Path) -> None:
    """Write to the medium what is not there yet and forget what the kernel knows of the file or block device.

    Raises:
        FlashError: if the medium does not take it.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
            if stat.S_ISBLK(os.fstat(descriptor).st_mode):
                # Only root may; the advice below does the same for pages that nobody holds.
                with suppress(OSError):
                    fcntl.ioctl(descriptor, _BLKFLSBUF, 0)
            if hasattr(os, "posix_fadvise"):
                os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise FlashError(f"{path}: the medium does not take what was written: {error.strerror}; try another one") from None


def digest_of(path: Path, size: int, progress: Progress = silent) -> str:
    """Read from the medium and return the SHA-256, in hexadecimal.

    Args:
        path: a file or block device; it is settled first.
        size: how many bytes, from the start.
        progress: told as step "verifying".

    Raises:
        FlashError: if the medium cannot be read, or is shorter.
    """
    settle(path)
    digest = hashlib.sha256()
    done = 0
    descriptor = _open_direct(path)
    try:
        # Direct reading wants memory at the boundary of a page, which is what mmap gives.
        with mmap.mmap(-1, _BLOCK) as buffer, memoryview(buffer) as view:
            while done < size:
                count = min(os.preadv(descriptor, [view], done), size - done)
                digest.update(view[:count])
                done += count
                progress("verifying", done, size)
                # Only at its end does a medium give something that is not whole sectors.
                if done < size and (count == 0 or count % _SECTOR):
                    raise FlashError(f"{path}: ends after {done} of {size} bytes; the medium is smaller than it says")
    except OSError as error:
        raise FlashError(f"{path}: cannot be read back at byte {done}: {error.strerror}; the medium is worn out") from None
    finally:
        os.close(descriptor)
    return digest.hexdigest()


def _open_direct(path: Path) -> int:
    """Open for reading past the cache; through it where the file system cannot, which was told to forget it."""
    direct = getattr(os, "O_DIRECT", 0)
    try:
        descriptor = os.open(path, os.O_RDONLY | direct)
        with mmap.mmap(-1, _SECTOR) as probe:
            os.preadv(descriptor, [probe], 0)
        return descriptor
    except OSError:
        return os.open(path, os.O_RDONLY)
