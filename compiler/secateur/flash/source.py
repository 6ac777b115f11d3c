"""Disk images, also compressed ones, read as a stream."""

from __future__ import annotations

import lzma
import os
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import zstandard

from secateur.flash.errors import FlashError, Progress, silent

CHUNK = 4 << 20
_READ = 1 << 20
_MAGIC = {b"\xfd7zXZ\x00": "xz", b"\x28\xb5\x2f\xfd": "zst", b"\x1f\x8b": "gz"}
_REFUSED = {
    b"PK\x03\x04": "a zip archive; unpack it first",
    b"BZh": "a bzip2 archive; unpack it first",
    b"QFI\xfb": "a QEMU disk; convert it with 'qemu-img convert -O raw'",
}
# Decompressing must not need more than a small host has; the images of distributions need 65 MB (xz -9).
_MEMORY_LIMIT = 512 << 20
_SKIPPABLE = 0x184D2A50


class ImageSource:
    """An image file: raw, xz, Zstandard or gzip, told apart by content, never by name.

    Args:
        path: the file.

    Raises:
        FlashError: if it cannot be read, is of another kind, or is an xz or Zstandard file that was cut off.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            with path.open("rb") as file:
                start = file.read(16)
                self.stored_bytes = file.seek(0, os.SEEK_END)
        except OSError as error:
            raise FlashError(f"image {path}: cannot be read: {error.strerror}") from None
        for magic, what in _REFUSED.items():
            if start.startswith(magic):
                raise FlashError(f"image {path}: it is {what}")
        self.kind = next((kind for magic, kind in _MAGIC.items() if start.startswith(magic)), "raw")
        self.size = self._size()

    def open(self, progress: Progress = silent) -> ImageStream:
        """Return the content from its start.

        Args:
            progress: told how many stored bytes were read, as step "reading".
        """
        return ImageStream(self, progress)

    def _size(self) -> int | None:
        """Bytes of the image, None if only decompressing tells."""
        if self.kind == "raw":
            return self.stored_bytes
        if self.kind == "gz":
            return None
        with self.path.open("rb") as file:
            try:
                return (_xz_size if self.kind == "xz" else _zst_size)(file, self.stored_bytes)
            except IndexError:
                raise _cut_off(self.path) from None


class ImageStream:
    """The decompressed content of an image, from start to end.

    Args:
        source: the image.
        progress: told how many stored bytes were read.
    """

    def __init__(self, source: ImageSource, progress: Progress) -> None:
        self._pieces = _pieces(source, progress)
        self._buffer = bytearray()

    def read(self, count: int) -> bytes:
        """Return the next ``count`` bytes; fewer only at the end.

        Raises:
            FlashError: if the archive is damaged or was cut off.
        """
        while len(self._buffer) < count:
            piece = next(self._pieces, None)
            if piece is None:
                break
            self._buffer += piece
        taken = bytes(memoryview(self._buffer)[:count])
        del self._buffer[:count]
        return taken

    def chunks(self) -> Iterator[bytes]:
        """Yield all that is left, in chunks of `CHUNK` bytes.

        Raises:
            FlashError: if the archive is damaged or was cut off.
        """
        while chunk := self.read(CHUNK):
            yield chunk


def _pieces(source: ImageSource, progress: Progress) -> Iterator[bytes]:
    """Yield the content in pieces of at most `CHUNK` bytes: a megabyte of an archive may hold gigabytes of zeros."""
    unpack = {"raw": _raw, "xz": _unpack_xz, "gz": _unpack_gz, "zst": _unpack_zst}[source.kind]
    try:
        with source.path.open("rb") as file:
            stored = _Stored(file, source.stored_bytes, progress)
            yield from unpack(stored)
    except _CutOff:
        raise _cut_off(source.path) from None
    except (lzma.LZMAError, zlib.error, zstandard.ZstdError) as error:
        raise FlashError(f"image {source.path}: damaged after {stored.done} bytes ({error}); download it again") from None
    except OSError as error:
        raise FlashError(f"image {source.path}: cannot be read: {error.strerror}") from None


class _CutOff(Exception):
    """An archive ends before its content does."""


class _Stored:
    """The bytes of the file, counted."""

    def __init__(self, file: BinaryIO, total: int, progress: Progress) -> None:
        self.done = 0
        self._file, self._total, self._progress = file, total, progress

    def read(self, count: int = _READ) -> bytes:
        data = self._file.read(count)
        self.done += len(data)
        self._progress("reading", self.done, self._total)
        return data

    def member(self, rest: bytes) -> bytes:
        """Return the next bytes that are not padding between members; b"" at the end."""
        data = rest.lstrip(b"\0")
        while not data and (block := self.read()):
            data = block.lstrip(b"\0")
        return data


def _raw(stored: _Stored) -> Iterator[bytes]:
    while block := stored.read():
        yield block


def _unpack_xz(stored: _Stored) -> Iterator[bytes]:
    rest = b""
    while data := stored.member(rest):
        decoder = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_MEMORY_LIMIT)
        while True:
            yield decoder.decompress(data, CHUNK)
            if decoder.eof:
                break
            data = stored.read() if decoder.needs_input else b""
            if decoder.needs_input and not data:
                raise _CutOff
        rest = decoder.unused_data


def _unpack_gz(stored: _Stored) -> Iterator[bytes]:
    rest = b""
    while data := stored.member(rest):
        decoder = zlib.decompressobj(wbits=31)
        while True:
            piece = decoder.decompress(data, CHUNK)
            yield piece
            if decoder.eof:
                break
            # Less than was asked for and nothing left over: it waits for more.
            data = decoder.unconsumed_tail or (stored.read() if len(piece) < CHUNK else b"")
            if not data and len(piece) < CHUNK:
                raise _CutOff
        rest = decoder.unused_data


def _unpack_zst(stored: _Stored) -> Iterator[bytes]:
    # That the last frame is whole was seen when its blocks were counted: the reader does not tell.
    decoder = zstandard.ZstdDecompressor(max_window_size=_MEMORY_LIMIT)
    with decoder.stream_reader(stored, read_across_frames=True, closefd=False) as reader:  # type: ignore[arg-type]
        while piece := reader.read(CHUNK):
            yield piece


def _cut_off(path: Path) -> FlashError:
    return FlashError(f"image {path}: the archive is cut off; download it again")


def _zst_size(file: BinaryIO, stored: int) -> int | None:
    """Return what the frames of a Zstandard file hold (RFC 8878, 3.1.1); blocks tell their sizes: nothing is unpacked.

    Returns:
        The bytes, None if a frame does not tell.

    Raises:
        IndexError: if the file ends within a frame.
    """
    total: int | None = 0
    at = 0
    while at < stored:
        file.seek(at)
        header = file.read(18)
        magic = int.from_bytes(header[:4], "little")
        if magic & 0xFFFFFFF0 == _SKIPPABLE:
            at += 8 + int.from_bytes(header[4:8], "little")
            continue
        descriptor = header[4]
        single, field = descriptor >> 5 & 1, descriptor >> 6
        size_bytes = (single, 2, 4, 8)[field]
        size_at = 5 + (1 - single) + (0, 1, 2, 4)[descriptor & 3]
        size = int.from_bytes(header[size_at : size_at + size_bytes], "little") + (256 if size_bytes == 2 else 0)
        total = None if total is None or not size_bytes else total + size
        at += size_at + size_bytes
        last = 0
        while not last:
            file.seek(at)
            block = file.read(3)
            # A run-length block holds one byte, whatever its size says.
            last, length = block[0] & 1, 1 if block[0] >> 1 & 3 == 1 else int.from_bytes(block, "little") >> 3
            at += 3 + length
        at += 4 if descriptor & 4 else 0
    if at > stored:
        raise IndexError
    return total


def _xz_size(file: BinaryIO, stored: int) -> int | None:
    """Return the size that the index at the end of an xz file tells (file format 1.2.0, sections 2.1.2 and 4).

    Returns:
        The bytes, None if it does not tell all.

    Raises:
        IndexError: if there is no index: the file was cut off.
    """
    file.seek(max(0, stored - 12))
    footer = file.read(12)
    if footer[10:] != b"YZ":
        if footer.endswith(b"\0\0\0\0"):  # stream padding: legal and rare, the decoder will see
            return None
        raise IndexError
    length = (struct.unpack_from("<I", footer, 4)[0] + 1) * 4
    if length > stored - 24:
        raise IndexError
    file.seek(stored - 12 - length)
    index = file.read(length)
    if index[0] != 0:
        return None
    count, at = _number(index, 1)
    total = blocks = 0
    for _ in range(count):
        unpadded, at = _number(index, at)
        size, at = _number(index, at)
        total += size
        blocks += (unpadded + 3) // 4 * 4
    # Another stream may lie before this one; then the whole is larger than this index tells.
    return total if 12 + blocks + length + 12 == stored else None


def _number(data: bytes, at: int) -> tuple[int, int]:
    """Read a number of seven bits a byte, the lowest first; return it and where it ends."""
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if not byte & 0x80:
            return value, at
