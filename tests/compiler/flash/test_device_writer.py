from __future__ import annotations

import hashlib
import random
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from secateur.flash import device_writer
from secateur.flash.device_writer import NotUsable, held, write_image
from secateur.flash.errors import FlashError
from secateur.flash.medium import digest_of

MIB = 1 << 20
CONTENT = random.Random(1).randbytes(5 * MIB) + bytes(4 * MIB) + random.Random(2).randbytes(MIB + 512)


def _chunks(content: bytes, size: int = 700_001) -> Iterator[bytes]:
    for at in range(0, len(content), size):
        yield content[at : at + size]


@pytest.fixture
def loop_device(tmp_path: Path) -> Iterator[Path]:
    """A block device of 16 MiB, full of an old system; needs root, which the tests of a container have."""
    backing = tmp_path / "card"
    backing.write_bytes(b"\xaa" * (16 * MIB))
    made = subprocess.run(["losetup", "--find", "--show", str(backing)], capture_output=True, text=True, check=False)
    if made.returncode:
        pytest.skip(f"no loop devices here ({made.stderr.strip()}); the same code is tested on files")
    yield Path(made.stdout.strip())
    subprocess.run(["losetup", "--detach", made.stdout.strip()], check=True)


def test_a_file_holds_the_image_and_its_digest_is_that_of_what_was_read_back(tmp_path: Path) -> None:
    target = tmp_path / "card.img"
    written = write_image(target, _chunks(CONTENT))
    assert target.read_bytes() == CONTENT
    assert (written.size, written.sha256) == (len(CONTENT), hashlib.sha256(CONTENT).hexdigest())
    assert target.stat().st_mode & 0o777 == 0o600, "it holds secrets"


def test_zeros_take_no_room_in_a_file(tmp_path: Path) -> None:
    target = tmp_path / "card.img"
    content = b"\1" * MIB + bytes(64 * MIB)
    write_image(target, _chunks(content, 4 * MIB))
    assert target.stat().st_size == len(content)
    assert target.stat().st_blocks * 512 < 8 * MIB


@pytest.mark.parametrize("size", [1, 511, MIB - 1, MIB, MIB + 1, 4096 * 7 + 13])
def test_images_of_any_size_are_written(tmp_path: Path, size: int) -> None:
    content = random.Random(size).randbytes(size)
    write_image(tmp_path / "x", _chunks(content, 1000))
    assert (tmp_path / "x").read_bytes() == content


def _agreed() -> None:
    """It is the right card."""


def test_a_block_device_is_written_and_read_back(loop_device: Path) -> None:
    written = write_image(loop_device, agreed=_agreed, content=_chunks(CONTENT))
    data = loop_device.read_bytes()
    assert data[: len(CONTENT)] == CONTENT
    assert data[len(CONTENT) :] == b"\xaa" * (16 * MIB - len(CONTENT))
    assert written.sha256 == hashlib.sha256(CONTENT).hexdigest()


class _Cut(Exception):
    """The card was pulled out, or somebody pressed Ctrl-C."""


@pytest.mark.parametrize("chunks", [0, 1, 3, 9])
def test_a_half_written_card_never_looks_bootable(loop_device: Path, chunks: int) -> None:
    def cut() -> Iterator[bytes]:
        for number, chunk in enumerate(_chunks(CONTENT)):
            if number == chunks:
                raise _Cut
            yield chunk

    with pytest.raises(_Cut):
        write_image(loop_device, agreed=_agreed, content=cut())
    assert loop_device.read_bytes()[:MIB] == bytes(MIB), "neither the old table nor the new one"


def test_the_partition_table_is_written_after_all_else(loop_device: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    places: list[int] = []
    real = device_writer._put

    def noted(descriptor: int, data: bytes, at: int) -> None:
        places.append(at)
        real(descriptor, data, at)

    monkeypatch.setattr(device_writer, "_put", noted)
    write_image(loop_device, agreed=_agreed, content=_chunks(CONTENT))
    assert places[0] == places[-1] == 0
    assert min(places[1:-1]) == MIB


def test_an_image_that_ends_early_leaves_a_card_that_is_told_to_be_unusable(loop_device: Path) -> None:
    def broken() -> Iterator[bytes]:
        yield CONTENT[: 2 * MIB]
        raise FlashError("image x: the archive is cut off; download it again")

    with pytest.raises(NotUsable, match=r"cut off; download it again; /dev/loop\d+ is not usable until it is flashed again"):
        write_image(loop_device, agreed=_agreed, content=broken())


def test_a_card_that_is_full_is_told_to_be_unusable(loop_device: Path) -> None:
    with pytest.raises(NotUsable, match="not usable until it is flashed again: it is full"):
        write_image(loop_device, agreed=_agreed, content=_chunks(random.Random(3).randbytes(17 * MIB)))


def test_a_card_that_changes_what_was_written_is_told(loop_device: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fake card forgets what is beyond its true size; here one byte is changed behind the writer's back."""
    real = device_writer.digest_of

    def worn(path: Path, size: int, progress: object = None) -> str:
        with path.open("r+b") as medium:
            medium.seek(3 * MIB)
            medium.write(b"\0")
        return real(path, size)

    monkeypatch.setattr(device_writer, "digest_of", worn)
    with pytest.raises(NotUsable, match="reads back differently"):
        write_image(loop_device, agreed=_agreed, content=_chunks(CONTENT))


def test_a_device_that_something_uses_is_not_touched(loop_device: Path, tmp_path: Path) -> None:
    subprocess.run(["mkfs.ext4", "-q", str(loop_device)], check=True)
    place = tmp_path / "mounted"
    place.mkdir()
    if subprocess.run(["mount", "-o", "ro", str(loop_device), str(place)], capture_output=True, check=False).returncode:
        pytest.skip("nothing can be mounted here")
    before = loop_device.read_bytes()
    try:
        with pytest.raises(FlashError, match="it is in use; unmount it"):
            write_image(loop_device, agreed=_agreed, content=_chunks(CONTENT))
        with pytest.raises(FlashError, match="it is in use; unmount it"), held(loop_device):
            pass
        assert loop_device.read_bytes() == before
    finally:
        subprocess.run(["umount", str(place)], check=True)


def test_a_card_that_is_another_one_by_now_is_not_touched(loop_device: Path) -> None:
    def other() -> None:
        raise FlashError("another card is there")

    before = loop_device.read_bytes()
    with pytest.raises(FlashError, match="another card is there"):
        write_image(loop_device, _chunks(CONTENT), agreed=other)
    assert loop_device.read_bytes() == before


def test_where_a_card_has_gone_no_file_takes_its_place(tmp_path: Path) -> None:
    gone, file = tmp_path / "sdb", tmp_path / "file"
    with pytest.raises(FlashError, match="No such file"):
        write_image(gone, _chunks(CONTENT), agreed=_agreed)
    assert not gone.exists()
    file.write_bytes(b"mine")
    with pytest.raises(FlashError, match="no block device; nothing was written"):
        write_image(file, _chunks(CONTENT), agreed=_agreed)
    assert file.read_bytes() == b"mine"


def test_progress_tells_of_writing_and_of_verifying(tmp_path: Path) -> None:
    seen: list[tuple[str, int, int]] = []
    write_image(tmp_path / "x", _chunks(CONTENT), lambda *told: seen.append(told), len(CONTENT))
    assert ("writing", len(CONTENT), len(CONTENT)) in seen
    assert seen[-1] == ("verifying", len(CONTENT), len(CONTENT))


def test_a_medium_that_is_shorter_than_what_was_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(bytes(1000))
    with pytest.raises(FlashError, match="ends after 1000 of 2000 bytes"):
        digest_of(tmp_path / "x", 2000)
