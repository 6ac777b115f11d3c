"""Writes an image to a card or file so that a half-written one never looks bootable, and reads all of it back."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from secateur.flash.errors import FlashError, Progress, silent
from secateur.flash.medium import digest_of
from secateur.flash.partitions import HEAD

_BLKRRPART = 0x125F  # linux/fs.h
_SYNC_EVERY = 64 << 20
_WHY = {
    errno.EBUSY: "it is in use; unmount it",
    errno.EACCES: "permission denied; become its owner ('sudo chown'), or choose another place",
    errno.EPERM: "permission denied; become its owner ('sudo chown'), or choose another place",
    errno.EROFS: "it is read-only; move the card's lock switch",
    errno.ENOSPC: "it is full",
    errno.EIO: "it does not take what is written; the card is worn out or loose",
    errno.ENOMEDIUM: "there is no medium in it",
}


Agreed = Callable[[], None]
"""Raises if a card is not any more the one that somebody agreed to have written; asked when it is open, so that its name
cannot become another's."""


@dataclass(frozen=True)
class WrittenImage:
    """What is on the medium now: bytes from its start, and their SHA-256 as it was read back."""

    size: int
    sha256: str


class NotUsable(FlashError):
    """The card was written in part: it does not boot until it is flashed again."""


def write_image(
    target: Path, content: Iterator[bytes], progress: Progress = silent, total: int = 0, agreed: Agreed | None = None
) -> WrittenImage:
    """Write an image and read it back.

    Args:
        target: a block device, which nothing else must use, or a file, which is made.
        content: the image in chunks; what is not of the first MiB is written before the first MiB, which has the partition
            table.
        progress: told as steps "writing" and "verifying".
        total: bytes of the image, 0 if not known.
        agreed: whether it is the right card; None for a file.

    Raises:
        FlashError: if the target cannot be opened, or is not the right card; it was not touched.
        NotUsable: if it cannot be written, or reads back differently.
    """
    device = agreed is not None
    # Linux: an exclusive opening of a block device fails while it is mounted or held, and keeps others from mounting it.
    flags = os.O_RDWR | (os.O_EXCL if device else os.O_CREAT | os.O_TRUNC)
    try:
        descriptor = os.open(target, flags, 0o600)
    except OSError as error:
        raise FlashError(f"{target}: {_why(error)}") from None
    try:
        if agreed is not None:
            if not stat.S_ISBLK(os.fstat(descriptor).st_mode):
                raise FlashError(f"{target}: no block device; nothing was written")
            agreed()
        try:
            digest, size = _write(descriptor, device, content, progress, total)
        except OSError as error:
            raise NotUsable(f"{target}: not usable until it is flashed again: {_why(error)}") from None
        except FlashError as error:
            raise NotUsable(f"{error}; {target} is not usable until it is flashed again") from None
        if digest_of(target, size, progress) != digest:
            raise NotUsable(
                f"{target}: reads back differently than it was written: the card is worn out or a fake; use another"
            )
    finally:
        os.close(descriptor)
    if device:
        _reread_table(target)
    return WrittenImage(size, digest)


@contextmanager
def held(target: Path) -> Iterator[None]:
    """Keep a block device from being mounted meanwhile; does nothing for a file.

    Args:
        target: the device or file.

    Raises:
        FlashError: if something uses the device, or it cannot be opened.
    """
    if not target.is_block_device():
        yield
        return
    try:
        descriptor = os.open(target, os.O_RDWR | os.O_EXCL)
    except OSError as error:
        raise FlashError(f"{target}: {_why(error)}") from None
    try:
        yield
    finally:
        os.close(descriptor)


def _write(descriptor: int, device: bool, content: Iterator[bytes], progress: Progress, total: int) -> tuple[str, int]:
    digest = hashlib.sha256()
    progress("writing", 0, total)
    # Wiped first: what boots from a card in which the old table points into the new image?
    if device:
        _put(descriptor, bytes(HEAD), 0)
        os.fsync(descriptor)
    head = bytearray()
    at = unsynced = 0
    for chunk in content:
        digest.update(chunk)
        missing = HEAD - len(head)
        body = memoryview(chunk)
        if missing > 0:
            head += body[:missing]
            body = body[missing:]
        if body:
            start = at + len(chunk) - len(body)
            # A new file is zeros already.
            if device or body != _ZEROS[: len(body)]:
                _put(descriptor, body, start)
            unsynced += len(body)
        at += len(chunk)
        if device and unsynced >= _SYNC_EVERY:
            # Else minutes of writing pile up in memory and the progress is not true.
            os.fsync(descriptor)
            unsynced = 0
        progress("writing", at, total or at)
    if not device:
        os.ftruncate(descriptor, at)
    os.fsync(descriptor)
    _put(descriptor, head, 0)
    os.fsync(descriptor)
    return digest.hexdigest(), at


_ZEROS = memoryview(bytes(4 << 20))


def _put(descriptor: int, data: bytes | bytearray | memoryview, at: int) -> None:
    view = memoryview(data)
    while view:
        count = os.pwrite(descriptor, view, at)
        view, at = view[count:], at + count


def _reread_table(target: Path) -> None:
    """Tell the kernel of the new partitions; if something looks at the old ones right now, the next insertion does."""
    with suppress(OSError):
        descriptor = os.open(target, os.O_RDONLY)
        try:
            if stat.S_ISBLK(os.fstat(descriptor).st_mode):
                fcntl.ioctl(descriptor, _BLKRRPART)
        finally:
            os.close(descriptor)


def _why(error: OSError) -> str:
    return _WHY.get(error.errno or 0, error.strerror or str(error))
