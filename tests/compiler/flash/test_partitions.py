from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.compiler.boot_images import MIB, gpt_head, mbr_head

from secateur.flash.errors import FlashError
from secateur.flash.partitions import Partition, boot_partition, read_table


def test_the_table_of_a_raspberry_pi_image_is_read() -> None:
    table = read_table(mbr_head(4 * MIB, 516 * MIB, 2000 * MIB), "here")
    assert table == (
        Partition(1, 4 * MIB, 512 * MIB, True),
        Partition(2, 516 * MIB, 1484 * MIB, False),
    )
    assert boot_partition(table, "here").number == 1


@pytest.mark.parametrize("kind", [0x0B, 0x0C, 0x0E, 0xEF])
def test_every_type_of_fat_that_boards_boot_from_counts(kind: int) -> None:
    assert boot_partition(read_table(mbr_head(MIB, 2 * MIB, 3 * MIB, kind), "here"), "here").number == 1


def test_the_efi_partition_of_a_debian_image_is_found_by_type_and_not_by_place() -> None:
    table = read_table(gpt_head(MIB, 128 * MIB, 3000 * MIB), "here")
    assert boot_partition(table, "here") == Partition(15, MIB, 127 * MIB, True)


def test_an_image_without_a_fat_partition_is_refused() -> None:
    with pytest.raises(FlashError, match="none of its 2 partitions is a FAT boot partition"):
        boot_partition(read_table(mbr_head(MIB, 2 * MIB, 3 * MIB, 0x83), "image x"), "image x")


@pytest.mark.parametrize(
    "head", [b"", bytes(MIB), b"GIF89a" + bytes(MIB), b"\x7fELF" + random.Random(1).randbytes(505) + b"\x55"]
)
def test_what_is_not_a_disk_image_is_refused(head: bytes) -> None:
    with pytest.raises(FlashError, match="not a disk image"):
        read_table(head, "image x")


def test_a_gpt_with_a_wrong_checksum_is_refused() -> None:
    head = bytearray(gpt_head(MIB, 128 * MIB, 3000 * MIB))
    head[1024 + 40] ^= 1
    with pytest.raises(FlashError, match=r"damaged \(checksum of the table"):
        read_table(bytes(head), "image x")
    head = bytearray(gpt_head(MIB, 128 * MIB, 3000 * MIB))
    head[512 + 80] ^= 1
    with pytest.raises(FlashError, match=r"damaged \(checksum of the header"):
        read_table(bytes(head), "image x")


def test_partitions_that_overlap_are_refused() -> None:
    boot = mbr_head(4 * MIB, 8 * MIB, 9 * MIB)
    with pytest.raises(FlashError, match="overlaps"):
        read_table(boot[:458] + (100_000).to_bytes(4, "little") + boot[462:], "image x")


@given(data=st.binary(max_size=2048), signed=st.booleans(), gpt=st.booleans())
def test_any_bytes_give_a_table_or_one_line(data: bytes, signed: bool, gpt: bool) -> None:
    _survives(bytes(data), signed, gpt)


@given(places=st.dictionaries(st.integers(446, 2000), st.integers(0, 255), max_size=12), gpt=st.booleans())
def test_a_damaged_table_gives_a_table_or_one_line(places: dict[int, int], gpt: bool) -> None:
    head = bytearray((gpt_head if gpt else mbr_head)(MIB, 4 * MIB, 8 * MIB))
    for place, value in places.items():
        head[place] = value
    _survives(bytes(head), False, False)


def _survives(data: bytes, signed: bool, gpt: bool) -> None:
    head = bytearray(data.ljust(2048, b"\0"))
    if signed:
        head[510:512] = b"\x55\xaa"
    if gpt:
        head[450] = 0xEE
        head[512:520] = b"EFI PART"
    try:
        table = read_table(bytes(head), "image x")
        boot_partition(table, "image x")
    except FlashError as error:
        refused = str(error)
    else:
        refused = "image x: "
        assert all(one.start > 0 and one.size > 0 for one in table)
    assert refused.startswith("image x: ")
    assert "\n" not in refused
