"""The order of steps from an image to cards: what it is, its boot partition, then all of it, read back."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory

from secateur.flash.device_writer import Agreed, NotUsable, held, write_image
from secateur.flash.errors import FlashError, Progress, silent
from secateur.flash.fat import FatPartition
from secateur.flash.first_boot.customise import WrittenFile, customise
from secateur.flash.first_boot.mechanism import Found
from secateur.flash.first_boot.registry import recognise
from secateur.flash.partitions import HEAD, Partition, boot_partition, read_table
from secateur.flash.payload import Payload
from secateur.flash.settings import Settings
from secateur.flash.source import CHUNK, ImageSource, ImageStream

PayloadFor = Callable[[str, Found], Payload]
"""From a device id and what the image is to what that board gets."""
Prepare = Callable[[Found], None]
"""Told what the image is, makes what does not depend on the device; raises if that cannot be had."""
SettingsFor = Callable[[str], Settings]
"""From a device id to what its owner wants."""


_CUT_OFF = "ends within its partitions; download it again"


@dataclass(frozen=True)
class Order:
    """One card: which device it is for, and the block device or file that is written."""

    device: str
    target: Path


@dataclass(frozen=True)
class Card:
    """What was written, all of it verified.

    Args:
        device: id of the board.
        target: the block device or file.
        found: what the image is.
        files: on the boot partition.
        size: bytes of the whole image; 0 if only the boot partition was written.
        sha256: of the whole image as it was read back; '' likewise.
    """

    device: str
    target: Path
    found: Found
    files: tuple[WrittenFile, ...]
    size: int = 0
    sha256: str = ""


class ImageFlasher:
    """An image, ready to be written to any number of cards.

    The part up to the end of the boot partition is unpacked into a folder, customised there for each card, and written with
    the rest, which goes from the archive to the card.

    Args:
        source: the image.
        folder: where to unpack; holds secrets while a card is made, and is removed by `close`. None: the system's.
        progress: told of every step.

    Raises:
        FlashError: if it is not an image, or its first-boot mechanism is not known.
    """

    def __init__(self, source: ImageSource, folder: Path | None = None, progress: Progress = silent) -> None:
        self._source, self._progress, self._where = source, progress, f"image {source.path}"
        try:
            self._work = TemporaryDirectory(prefix="secateur-flash-", dir=folder)
        except OSError as error:
            raise FlashError(f"{error.filename}: {error.strerror}; name another folder") from None
        try:
            self._head, self._fresh = self._unpack_head()
            self._boot = FatPartition(self._head, self._partition)
            self.mechanism, self.found = recognise(self._boot, self._where)
        except BaseException:
            self.close()
            raise

    @property
    def needed(self) -> int:
        """Bytes that a card must have."""
        return max(self._source.size or 0, self._end)

    def flash(
        self, order: Order, payload: Payload, settings: Settings, last: bool = True, agreed: Agreed | None = None
    ) -> Card:
        """Write one card.

        Args:
            order: the card.
            payload: what its board gets.
            settings: what its owner wants.
            last: whether no other card follows, so that nothing need be kept.
            agreed: whether it is still the card that may be written; None for a file.

        Raises:
            FlashError: if it cannot be written; see `write_image` about what is on the card then.
        """
        head = self._head
        if not last:
            head = self._head.with_name("card.img")
            _copy_sparse(self._head, head)
        boot = FatPartition(head, self._partition)
        files = customise(boot, self.mechanism, self.found, payload, settings, self._progress)
        content = chain(_chunks(head), self._tail())
        written = write_image(order.target, content, self._progress, self._source.size or 0, agreed)
        if written.size < self._end:  # only now known of an archive that does not tell its size
            raise NotUsable(f"{self._where}: {_CUT_OFF}; {order.target} is not usable until it is flashed again")
        # Once more by name, from the medium: what a board will read is what was meant for it.
        FatPartition(order.target, self._partition).verify({file.name: file.sha256 for file in files})
        if not last:
            head.unlink()
        return Card(order.device, order.target, self.found, files, written.size, written.sha256)

    def close(self) -> None:
        """Remove what was unpacked."""
        self._work.cleanup()

    def _unpack_head(self) -> tuple[Path, ImageStream | None]:
        stream = self._source.open(self._progress)
        head = stream.read(HEAD)
        partitions = read_table(head, self._where)
        self._end = max(one.start + one.size for one in partitions)
        self._partition: Partition = boot_partition(partitions, self._where)
        self._head_bytes = max(HEAD, self._partition.start + self._partition.size)
        if self._source.size is not None and self._source.size < self._end:
            raise FlashError(f"{self._where}: {_CUT_OFF}")
        path = Path(self._work.name) / "head.img"
        try:
            with path.open("wb") as file:
                done = 0
                while head:
                    _write_sparse(file.fileno(), head, done)
                    done += len(head)
                    head = stream.read(min(CHUNK, self._head_bytes - done))
                os.ftruncate(file.fileno(), done)
        except OSError as error:
            raise FlashError(f"{path}: {error.strerror}; name a folder with more room in TMPDIR") from None
        if done < self._partition.start + self._partition.size:
            raise FlashError(f"{self._where}: {_CUT_OFF}")
        return path, stream

    def _tail(self) -> Iterator[bytes]:
        """Yield the image after its head; the first time from where unpacking stopped."""
        stream, self._fresh = self._fresh, None
        if stream is None:
            stream = self._source.open(self._progress)
            skipped = 0
            while skipped < self._head_bytes:
                piece = stream.read(min(CHUNK, self._head_bytes - skipped))
                if not piece:
                    return
                skipped += len(piece)
        yield from stream.chunks()


def flash_cards(
    source: ImageSource,
    orders: Sequence[Order],
    prepare: Prepare,
    payload_for: PayloadFor,
    settings_for: SettingsFor,
    check: Callable[[Order, int], Agreed | None],
    progress: Progress = silent,
    folder: Path | None = None,
) -> Iterator[Card]:
    """Write an image to cards, one after the other; nothing is written to the first before all that can be checked is.

    Args:
        source: the image.
        orders: the cards.
        prepare: makes what all boards share.
        payload_for: makes what a board gets, once its card may be written: its host knows it by that from then on.
        settings_for: what the owner of a board wants.
        check: asks whether a card may be written with so many bytes; raises if not. Returns how to ask that again once the
            card is open, None for a file.
        progress: told of every step.
        folder: where to unpack.

    Yields:
        Each card when it is done.

    Raises:
        FlashError: at the first that fails.
    """
    flasher = ImageFlasher(source, folder, progress)
    try:
        prepare(flasher.found)
        for number, order in enumerate(orders, 1):
            settings = settings_for(order.device)
            agreed = check(order, flasher.needed)
            payload = payload_for(order.device, flasher.found)
            if agreed is not None:
                yield flasher.flash(order, payload, settings, number == len(orders), agreed)
                continue
            part = order.target.with_name(f"{order.target.name}.part")
            try:
                done = flasher.flash(Order(order.device, part), payload, settings, number == len(orders))
                part.replace(order.target)
            finally:
                part.unlink(missing_ok=True)
            yield Card(done.device, order.target, done.found, done.files, done.size, done.sha256)
    finally:
        flasher.close()


def customise_card(
    order: Order,
    payload_for: PayloadFor,
    settings: Settings,
    progress: Progress = silent,
    agreed: Agreed | None = None,
) -> Card:
    """Write to the boot partition of a card or image file that holds a system already; nothing else is touched.

    Args:
        order: the card.
        payload_for: makes what the board gets.
        settings: what its owner wants.
        progress: told of every step.
        agreed: whether it is still the card that may be changed; None for a file.

    Raises:
        FlashError: if it holds no known system, is not the right card, or cannot be written.
    """
    where = str(order.target)
    with held(order.target):
        if agreed is not None:
            agreed()
        try:
            with order.target.open("rb") as file:
                head = file.read(HEAD)
        except OSError as error:
            raise FlashError(f"{where}: cannot be read: {error.strerror}") from None
        partition = boot_partition(read_table(head, where), where)
        boot = FatPartition(order.target, partition)
        mechanism, found = recognise(boot, where)
        payload = payload_for(order.device, found)
        return Card(order.device, order.target, found, customise(boot, mechanism, found, payload, settings, progress))


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            yield chunk


def _copy_sparse(source: Path, target: Path) -> None:
    try:
        with target.open("wb") as file:
            at = 0
            for chunk in _chunks(source):
                _write_sparse(file.fileno(), chunk, at)
                at += len(chunk)
            os.ftruncate(file.fileno(), at)
    except OSError as error:
        raise FlashError(f"{target}: {error.strerror}; name a folder with more room in TMPDIR") from None


def _write_sparse(descriptor: int, data: bytes, at: int) -> None:
    if data.count(0) != len(data):
        os.pwrite(descriptor, data, at)


def room_for(folder: Path, size: int, where: str) -> None:
    """Make sure that a folder has room.

    Raises:
        FlashError: if it has not.
    """
    try:
        free = shutil.disk_usage(folder).free
    except OSError as error:
        raise FlashError(f"{where}: {folder}: {error.strerror}; make the folder first") from None
    if free < size:
        raise FlashError(f"{where}: {folder} has {free / 1e9:.1f} GB free, {size / 1e9:.1f} are needed; name another folder")
