from __future__ import annotations

import hashlib
import random
from pathlib import Path

import pytest
from tests.compiler.boot_images import BOOKWORM, MIB, START, boot_of, fsck, make_image

from secateur.flash.errors import FlashError
from secateur.flash.fat import FatPartition
from secateur.flash.partitions import Partition

LONG = "a-rather-long-name.with-dots.before-secateur"


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize(("bits", "mib"), [(12, 4), (16, 20), (32, 36)])
def test_files_are_written_read_replaced_and_removed(tmp_path: Path, bits: int, mib: int) -> None:
    image = make_image(tmp_path / "x.img", {"cmdline.txt": "console=tty1\n", "overlays/README": "there"}, mib, bits=bits)
    boot = boot_of(image, mib)
    large = random.Random(1).randbytes(1_000_001)
    boot.write("secateur/environment.tar.gz", large)
    boot.write(LONG, b"")
    boot.write("cmdline.txt", b"replaced\n")
    assert boot.read("secateur/environment.tar.gz") == large
    assert boot.read(LONG) == b""
    assert boot.text("cmdline.txt") == "replaced\n"
    assert sorted(boot.names()) == [LONG, "cmdline.txt", "overlays/", "secateur/"]
    assert boot.has("overlays/readme"), "FAT does not tell case apart"
    assert fsck(image, mib) == ""
    boot.remove("secateur")
    boot.remove(LONG)
    boot.remove("never-there")
    assert sorted(boot.names()) == ["cmdline.txt", "overlays/"]
    assert fsck(image, mib) == ""


def test_a_file_of_the_host_is_copied(tmp_path: Path) -> None:
    image = make_image(tmp_path / "x.img", {})
    (tmp_path / "large file").write_bytes(b"x" * 100_000)
    boot_of(image).write("secateur/environment.tar.gz", tmp_path / "large file")
    assert boot_of(image).read("secateur/environment.tar.gz") == b"x" * 100_000


def test_nothing_outside_of_the_partition_is_touched(tmp_path: Path) -> None:
    image = make_image(tmp_path / "x.img", BOOKWORM)
    before = image.read_bytes()
    boot = boot_of(image)
    boot.write("secateur/environment.tar.gz", random.Random(1).randbytes(20 * MIB))
    boot.set_label("CIDATA")
    after = image.read_bytes()
    assert boot.label() == "CIDATA"
    assert after[:START] == before[:START]
    assert after[START + 36 * MIB :] == before[START + 36 * MIB :]
    assert after != before


def test_free_space_is_checked_before_anything_is_written(tmp_path: Path) -> None:
    boot = boot_of(make_image(tmp_path / "x.img", {}))
    free = boot.free_bytes()
    assert 34 * MIB < free < 36 * MIB
    boot.require_free({"large": free - 10_000})
    with pytest.raises(FlashError, match="the boot partition has 37 MB free, 61 are needed"):
        boot.require_free({"large": 61_000_000})
    with pytest.raises(FlashError, match="MB free"):
        boot.require_free({f"small-{number}": 1 for number in range(60_000)})


def test_a_file_that_reads_back_differently_is_told(tmp_path: Path) -> None:
    image = make_image(tmp_path / "x.img", {})
    boot = boot_of(image)
    content = b"a text that stands out on the medium" * 20
    boot.write("kept.txt", content)
    boot.verify({"kept.txt": _sha256(content)})
    raw = image.read_bytes()
    image.write_bytes(raw.replace(b"stands out", b"stands 0ut", 1))
    with pytest.raises(FlashError, match=r"kept.txt reads back differently than it was written; the medium is worn out"):
        boot.verify({"kept.txt": _sha256(content)})


@pytest.mark.parametrize("sector", [bytes(512), b"\xeb\x3c\x90" + bytes(507) + b"\x55\xaa", random.Random(5).randbytes(512)])
def test_a_partition_that_is_not_fat_is_refused(tmp_path: Path, sector: bytes) -> None:
    (tmp_path / "x").write_bytes(sector)
    with pytest.raises(FlashError, match="not a FAT file system"):
        FatPartition(tmp_path / "x", Partition(1, 0, 512, True))


@pytest.mark.parametrize("name", ["", "../x", "a b", "-i", "::/x", "a/b/c", "*", "ä"])
def test_names_that_the_tools_would_interpret_are_refused(tmp_path: Path, name: str) -> None:
    boot = boot_of(make_image(tmp_path / "x.img", {}))
    with pytest.raises(FlashError, match="not a name of a file in a boot partition"):
        boot.write(name, b"x")


def test_without_mtools_the_user_is_told_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = make_image(tmp_path / "x.img", {})
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(FlashError, match="'sudo apt install mtools'"):
        boot_of(image)
