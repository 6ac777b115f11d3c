"""Partition tables of disk images: MBR and GPT, primary partitions only."""

from __future__ import annotations

import struct
import uuid
import zlib
from dataclasses import dataclass

from secateur.flash.errors import FlashError

HEAD = 1 << 20
"""A partition table lies in the first MiB of an image."""
SECTOR = 512
_ESP = uuid.UUID("c12a7328-f81f-11d2-ba4b-00a0c93ec93b")
_PROTECTIVE, _ESP_MBR = 0xEE, 0xEF
_FAT_MBR = (0x0B, 0x0C, 0x0E, _ESP_MBR)
_MOST_ENTRIES = 1024


@dataclass(frozen=True)
class Partition:
    """One partition.

    Args:
        number: as the kernel numbers it, from 1.
        start: byte of the disk where it starts.
        size: bytes.
        boot_fat: whether its type says that it is a FAT partition that boards boot from.
    """

    number: int
    start: int
    size: int
    boot_fat: bool


def read_table(head: bytes, where: str) -> tuple[Partition, ...]:
    """Read the partition table of a disk.

    Args:
        head: the first MiB of the disk.
        where: the image or device, for the error line.

    Raises:
        FlashError: if there is none, or it makes no sense.

    Format: the MBR of the IBM PC; GPT as in the UEFI specification 2.10, chapter 5. Sectors of 512 bytes.
    """
    if len(head) < SECTOR or head[510:512] != b"\x55\xaa":
        raise FlashError(f"{where}: not a disk image: it has no partition table")
    entries = [struct.unpack_from("<B3xB3xII", head, 446 + 16 * index) for index in range(4)]
    if any(kind == _PROTECTIVE for _, kind, _, _ in entries):
        return _read_gpt(head, where)
    partitions = []
    for number, (status, kind, start, count) in enumerate(entries, 1):
        if kind == 0 or count == 0:
            continue
        if status not in (0, 0x80) or start == 0:
            raise FlashError(f"{where}: not a disk image: partition {number} of its table makes no sense")
        partitions.append(Partition(number, start * SECTOR, count * SECTOR, kind in _FAT_MBR))
    return _checked(partitions, where)


def boot_partition(partitions: tuple[Partition, ...], where: str) -> Partition:
    """Return the first FAT partition that boards boot from.

    Raises:
        FlashError: if there is none.
    """
    for partition in partitions:
        if partition.boot_fat:
            return partition
    raise FlashError(
        f"{where}: none of its {len(partitions)} partitions is a FAT boot partition (EFI system, or MBR type 0b, 0c, 0e); "
        "take an image for a board that boots from one"
    )


def _read_gpt(head: bytes, where: str) -> tuple[Partition, ...]:
    def damaged(what: str) -> FlashError:
        return FlashError(f"{where}: its GPT partition table is damaged ({what}); take another copy of the image")

    if len(head) < 2 * SECTOR or head[SECTOR : SECTOR + 8] != b"EFI PART":
        raise damaged("no header")
    header_size, header_crc = struct.unpack_from("<II", head, SECTOR + 12)
    if not 92 <= header_size <= SECTOR:
        raise damaged("size of the header")
    header = bytearray(head[SECTOR : SECTOR + header_size])
    header[16:20] = bytes(4)
    if zlib.crc32(header) != header_crc:
        raise damaged("checksum of the header")
    table_sector, count, entry_size, table_crc = struct.unpack_from("<QIII", head, SECTOR + 72)
    at = table_sector * SECTOR
    if not (0 < count <= _MOST_ENTRIES and 128 <= entry_size <= 4096 and entry_size % 8 == 0):
        raise damaged("size of the table")
    if at < 2 * SECTOR or at + count * entry_size > len(head):
        raise damaged("place of the table")
    if zlib.crc32(head[at : at + count * entry_size]) != table_crc:
        raise damaged("checksum of the table")
    partitions = []
    for index in range(count):
        entry = head[at + index * entry_size :][:48]
        kind = uuid.UUID(bytes_le=entry[:16])
        if kind.int == 0:
            continue
        first, last = struct.unpack_from("<QQ", entry, 32)
        if not 0 < first <= last < 1 << 48:
            raise damaged(f"partition {index + 1}")
        partitions.append(Partition(index + 1, first * SECTOR, (last - first + 1) * SECTOR, kind == _ESP))
    return _checked(partitions, where)


def _checked(partitions: list[Partition], where: str) -> tuple[Partition, ...]:
    if not partitions:
        raise FlashError(f"{where}: not a disk image: its partition table is empty")
    end = 0
    for partition in sorted(partitions, key=lambda one: one.start):
        if partition.start < end:
            raise FlashError(f"{where}: not a disk image: partition {partition.number} overlaps another one")
        end = partition.start + partition.size
    return tuple(partitions)
