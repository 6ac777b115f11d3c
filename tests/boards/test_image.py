"""The cards that the boards boot from."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from tests.boards.conftest import Record
from tests.boards.fat import BootPartition, boot_partition
from tests.boards.image import KINDS, compressed_image, make_card
from tests.boards.root_file_system import root_file_system


@pytest.mark.parametrize("kind", KINDS)
def test_boot_partition_is_laid_out_as_raspberry_pi_os(kind: str, desk: Path) -> None:
    card = desk / f"{kind}.img"
    make_card(card, kind)
    boot = BootPartition(card)
    names = set(boot.names())
    assert {
        "cmdline.txt",
        "config.txt",
        "issue.txt",
        "kernel8.img",
        "initramfs8",
        "overlays",
        "bcm2837-rpi-3-b.dtb",
    } <= names
    assert ({"user-data", "meta-data", "network-config"} <= names) == (kind == "trixie")
    command_line = boot.read("cmdline.txt").decode()
    assert command_line.count("\n") == 1
    assert "root=PARTUUID=" in command_line
    assert 256 << 20 <= boot_partition(card)[1] <= 512 << 20
    with card.open("rb") as file:
        file.seek(boot_partition(card)[0] + 71)
        assert file.read(11) == b"bootfs     "
    card.unlink()


def test_card_made_again_from_the_cache_is_the_same_to_the_byte(desk: Path) -> None:
    digests = []
    for name in ("first", "second"):
        make_card(desk / name, "trixie")
        with (desk / name).open("rb") as file:
            digests.append(hashlib.file_digest(file, "sha256").hexdigest())
        (desk / name).unlink()
    assert digests[0] == digests[1]


@pytest.mark.parametrize("kind", KINDS)
def test_image_is_compressed_once(kind: str, record: Record) -> None:
    image = compressed_image(kind)
    record("compressed_mb", image.stat().st_size / 1e6)
    made = image.stat().st_ino
    assert compressed_image(kind).stat().st_ino == made


def test_modules_match_the_kernel(record: Record) -> None:
    packages = dict(line.split() for line in (root_file_system() / "packages.txt").read_text().splitlines())
    kernels = [name for name in packages if name.startswith("linux-image-6.1")]
    assert len(kernels) == 1
    record("kernel", packages[kernels[0]])
