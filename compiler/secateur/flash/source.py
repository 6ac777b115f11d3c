"""Disk images, also compressed ones, read as a stream."""

from __future__ import annotations

import lzma
import os
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

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


class _Decoder(Protocol):
    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, /) -> bytes: ...


class ImageSource:
    """An image file: raw, xz, Zstandard or gzip, told apart by content, never by name.

    Args:
        path: the file.

    Raises:
        FlashError: if it cannot be read, is of another kind, or is an xz file that was cut off.
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
        if self.kind == "xz":
            return _xz_size(self.path, self.stored_bytes)
        if self.kind == "zst":
            with self.path.open("rb") as file:
                try:
                    size = zstandard.frame_content_size(file.read(32))
                except zstandard.ZstdError:
                    return None
            # A file of several frames is larger: only a lower bound can be told, which is none.
            return size if size > 0 and self._one_frame() else None
        return None

    def _one_frame(self) -> bool:
        """Whether a Zstandard file is one frame (RFC 8878, 3.1.1); blocks tell their sizes: nothing is decompressed."""
        with self.path.open("rb") as file:
            header = file.read(5)
            descriptor = header[4]
            single, field = descriptor >> 5 & 1, descriptor >> 6
            size_bytes = (1 if single else 0, 2, 4, 8)[field]
            file.seek((0 if single else 1) + (0, 1, 2, 4)[descriptor & 3] + size_bytes, os.SEEK_CUR)
            while True:
                block = file.read(3)
                if len(block) < 3:
                    raise _cut_off(self.path)
                value = int.from_bytes(block, "little")
                # A run-length block holds one byte, whatever its size says.
                file.seek(1 if value >> 1 & 3 == 1 else value >> 3, os.SEEK_CUR)
                if value & 1:
                    break
            end = file.tell() + (4 if descriptor & 4 else 0)
        if end > self.stored_bytes:
            raise _cut_off(self.path)
        return end == self.stored_bytes


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
            piece = next(self._pieces, b"")
            if not piece:
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
    done = 0
    decoder: _Decoder | None = None
    try:
        with source.path.open("rb") as file:
            while block := file.read(_READ):
                done += len(block)
                progress("reading", done, source.stored_bytes)
                if source.kind == "raw":
                    yield block
                    continue
                while block:
                    if decoder is None:
                        # Between the members of an archive there may be padding of zeros.
                        block = block.lstrip(b"\0")
                        if not block:
                            break
                        decoder = _decoder(source.kind)
                    if piece := decoder.decompress(block):
                        yield piece
                    block = b""
                    if decoder.eof:
                        block, decoder = decoder.unused_data, None
    except (lzma.LZMAError, zlib.error, zstandard.ZstdError) as error:
        raise FlashError(f"image {source.path}: damaged after {done} bytes ({error}); download it again") from None
    except OSError as error:
        raise FlashError(f"image {source.path}: cannot be read: {error.strerror}") from None
    if decoder is not None:
        raise _cut_off(source.path)


def _decoder(kind: str) -> _Decoder:
    if kind == "xz":
        return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_MEMORY_LIMIT)
    if kind == "zst":
        return zstandard.ZstdDecompressor(max_window_size=_MEMORY_LIMIT).decompressobj()
    return zlib.decompressobj(wbits=31)


def _cut_off(path: Path) -> FlashError:
    return FlashError(f"image {path}: the archive is cut off; download it again")


def _xz_size(path: Path, stored: int) -> int | None:
    """Return the size that the index at the end of an xz file tells (file format 1.2.0, sections 2.1.2 and 4).

    Raises:
        FlashError: if there is no index: the file was cut off.
    """
    with path.open("rb") as file:
        file.seek(max(0, stored - 12))
        footer = file.read(12)
        if len(footer) < 12 or footer[10:] != b"YZ":
            if footer.endswith(b"\0\0\0\0"):  # stream padding: legal and rare, the decoder will see
                return None
            raise _cut_off(path)
        length = (struct.unpack_from("<I", footer, 4)[0] + 1) * 4
        if length > stored - 24:
            raise _cut_off(path)
        file.seek(stored - 12 - length)
        index = file.read(length)
    try:
        if index[0] != 0:
            return None
        count, at = _number(index, 1)
        total = blocks = 0
        for _ in range(count):
            unpadded, at = _number(index, at)
            size, at = _number(index, at)
            total += size
            blocks += (unpadded + 3) // 4 * 4
    except IndexError:
        raise _cut_off(path) from None
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
