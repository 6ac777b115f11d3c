from __future__ import annotations

import functools
import gzip
import lzma
import random
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from secateur.flash.errors import FlashError
from secateur.flash.source import ImageSource

CONTENT = random.Random(1).randbytes(3_000_000) + bytes(2_000_000)
KINDS: dict[str, Callable[[bytes], bytes]] = {
    "raw": bytes,
    "xz": functools.partial(lzma.compress, preset=0),
    "zst": zstandard.ZstdCompressor().compress,
    "gz": gzip.compress,
}


def _read(source: ImageSource) -> bytes:
    return b"".join(source.open().chunks())


@pytest.mark.parametrize("kind", KINDS)
def test_the_kind_of_archive_is_told_by_content_and_not_by_name(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "misnamed.img.xz"
    path.write_bytes(KINDS[kind](CONTENT))
    source = ImageSource(path)
    assert source.kind == kind
    assert _read(source) == CONTENT


@pytest.mark.parametrize("kind", ["raw", "xz", "zst"])
def test_the_size_of_the_image_is_known_before_it_is_unpacked(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "image"
    path.write_bytes(KINDS[kind](CONTENT))
    assert ImageSource(path).size == len(CONTENT)


@pytest.mark.parametrize("kind", ["xz", "zst", "gz"])
def test_an_archive_of_several_members_is_read_whole(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "image"
    path.write_bytes(KINDS[kind](CONTENT[:1000]) + KINDS[kind](CONTENT[1000:]))
    source = ImageSource(path)
    assert source.size in (None, len(CONTENT)), "the size of one member is not that of the image"
    assert _read(source) == CONTENT


def test_a_file_of_several_threads_is_one_stream_with_its_size(tmp_path: Path) -> None:
    compressor = lzma.LZMACompressor(preset=0)
    packed = compressor.compress(CONTENT) + compressor.flush()
    (tmp_path / "image").write_bytes(packed)
    assert ImageSource(tmp_path / "image").size == len(CONTENT)


@pytest.mark.parametrize("kind", ["xz", "zst", "gz"])
@pytest.mark.parametrize("share", [0.3, 0.95, 0.9999])
def test_an_archive_that_was_cut_off_is_refused(tmp_path: Path, kind: str, share: float) -> None:
    packed = KINDS[kind](CONTENT)
    path = tmp_path / "image"
    path.write_bytes(packed[: int(len(packed) * share)])
    with pytest.raises(FlashError, match="cut off; download it again"):
        _read(ImageSource(path))


@pytest.mark.parametrize("kind", ["xz", "gz"])  # Zstandard has no checksum unless asked for one
def test_a_damaged_archive_is_refused(tmp_path: Path, kind: str) -> None:
    packed = bytearray(KINDS[kind](random.Random(2).randbytes(500_000) * 2))
    packed[len(packed) // 2] ^= 0xFF
    packed[len(packed) // 2 + 1] ^= 0xFF
    path = tmp_path / "image"
    path.write_bytes(packed)
    with pytest.raises(FlashError, match=r"damaged|cut off"):
        _read(ImageSource(path))


@pytest.mark.parametrize(("start", "what"), [(b"PK\x03\x04", "zip"), (b"BZh9", "bzip2"), (b"QFI\xfb", "qemu-img convert")])
def test_archives_of_other_kinds_are_refused_with_what_to_do(tmp_path: Path, start: bytes, what: str) -> None:
    (tmp_path / "image").write_bytes(start + bytes(100))
    with pytest.raises(FlashError, match=what):
        ImageSource(tmp_path / "image")


def test_a_file_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(FlashError, match="cannot be read: No such file"):
        ImageSource(tmp_path / "none.img")


def test_progress_counts_what_is_stored(tmp_path: Path) -> None:
    path = tmp_path / "image"
    path.write_bytes(KINDS["xz"](CONTENT))
    seen: list[tuple[str, int, int]] = []
    for _ in ImageSource(path).open(lambda *told: seen.append(told)).chunks():
        pass
    assert seen[-1] == ("reading", path.stat().st_size, path.stat().st_size)


def test_what_is_read_first_and_what_is_left_are_the_image(tmp_path: Path) -> None:
    path = tmp_path / "image"
    path.write_bytes(KINDS["xz"](CONTENT))
    stream = ImageSource(path).open()
    assert stream.read(12345) + stream.read(1) + b"".join(stream.chunks()) == CONTENT


@given(
    magic=st.sampled_from([b"\xfd7zXZ\x00", b"\x28\xb5\x2f\xfd", b"\x1f\x8b", b""]),
    rest=st.binary(max_size=300),
    end=st.sampled_from([b"", b"YZ", bytes(8) + b"YZ"]),
)
def test_any_bytes_are_read_or_refused_with_one_line(
    tmp_path_factory: pytest.TempPathFactory, magic: bytes, rest: bytes, end: bytes
) -> None:
    path = tmp_path_factory.mktemp("any") / "image"
    path.write_bytes(magic + rest + end)
    refused = ""
    try:
        _read(ImageSource(path))
    except FlashError as error:
        refused = str(error)
    assert "\n" not in refused


@pytest.mark.parametrize("kind", ["xz", "zst", "gz"])
def test_a_little_archive_of_many_zeros_does_not_fill_the_memory(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "image"
    path.write_bytes(KINDS[kind](bytes(200_000_000)))
    tracemalloc.start()
    assert sum(len(chunk) for chunk in ImageSource(path).open().chunks()) == 200_000_000
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 40_000_000
