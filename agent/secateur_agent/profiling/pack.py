"""Packs: many small model files that a device is to time, in one blob.

Layout: ``SECPACK1``, the length of the header (4 bytes, little-endian), the header (JSON, `PackHeader`), then the files, one
after the other. The supervisor reads headers: neither numpy nor a runtime here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from secateur_agent.bundle.manifest import Precision, TensorSpec
from secateur_agent.protocol.messages import Id, Sha256

MAGIC = b"SECPACK1"
MAX_FILES = 256
MAX_HEADER_BYTES = 1 << 20
MAX_PACK_BYTES = 1 << 28
_LENGTH_BYTES = 4


class PackError(ValueError):
    """A pack is damaged, too large, or asks for what cannot be."""


class PackedFile(msgspec.Struct, frozen=True, kw_only=True):
    """One model file: its digest and size in bytes, and what goes in and out of the network."""

    sha256: Sha256
    size: Annotated[int, Meta(ge=1, le=MAX_PACK_BYTES)]
    inputs: Annotated[tuple[TensorSpec, ...], Meta(min_length=1, max_length=64)]
    outputs: Annotated[tuple[TensorSpec, ...], Meta(min_length=1, max_length=64)]


class PackHeader(msgspec.Struct, frozen=True, kw_only=True):
    """How to time, and what.

    Attributes:
        measurement: all packs with this id belong together; times of another measurement are not taken for these.
        runtime: as profiles name it.
        precision: of all files.
        threads: inside an operator.
        rounds: how often the files take turns.
        round_ms: how long a file is run in each round.
        files: in the order in which they lie in the pack.
    """

    measurement: Id
    runtime: Annotated[str, Meta(min_length=1, max_length=32)]
    precision: Precision
    threads: Annotated[int, Meta(ge=1, le=4096)] = 1
    rounds: Annotated[int, Meta(ge=1, le=1000)] = 9
    round_ms: Annotated[float, Meta(gt=0, le=10_000)] = 3.0
    files: Annotated[tuple[PackedFile, ...], Meta(min_length=1, max_length=MAX_FILES)]


class Pack:
    """A pack on disk whose header was read. Attribute: ``header``."""

    def __init__(self, path: Path) -> None:
        """Read the header.

        Args:
            path: the file.

        Raises:
            PackError: if it cannot be read or is no pack.
        """
        self._path = path
        try:
            size = path.stat().st_size
            with path.open("rb") as file:
                start = file.read(len(MAGIC) + _LENGTH_BYTES)
                length = int.from_bytes(start[len(MAGIC) :], "little")
                if size > MAX_PACK_BYTES:
                    raise PackError(f"pack: {size} bytes, more than the limit of {MAX_PACK_BYTES}")
                if not start.startswith(MAGIC) or len(start) < len(MAGIC) + _LENGTH_BYTES or length > MAX_HEADER_BYTES:
                    raise PackError("pack: does not begin as a pack does")
                self.header = msgspec.json.decode(file.read(length), type=PackHeader)
        except OSError as error:
            raise PackError(f"pack: cannot be read: {error.strerror}") from None
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise PackError(f"pack: its header: {error}") from None
        self._offsets = [len(MAGIC) + _LENGTH_BYTES + length]
        for each in self.header.files:
            self._offsets.append(self._offsets[-1] + each.size)
        if self._offsets[-1] != size:
            raise PackError(f"pack: has {size} bytes, its header describes {self._offsets[-1]}")

    def read(self, index: int) -> bytes:
        """Return one file, its digest verified.

        Args:
            index: its place in the pack.

        Raises:
            PackError: if there is none, it cannot be read or is altered.
        """
        if not 0 <= index < len(self.header.files):
            raise PackError(f"pack: no file {index}; it has {len(self.header.files)}")
        try:
            with self._path.open("rb") as file:
                file.seek(self._offsets[index])
                data = file.read(self.header.files[index].size)
        except OSError as error:
            raise PackError(f"pack: cannot be read: {error.strerror}") from None
        if hashlib.sha256(data).hexdigest() != self.header.files[index].sha256:
            raise PackError(f"pack: file {index} is altered")
        return data


def packed_file(data: bytes, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]) -> PackedFile:
    """Describe one model file for a header.

    Args:
        data: the file.
        inputs: of the network.
        outputs: of the network.
    """
    digest = hashlib.sha256(data).hexdigest()
    return PackedFile(sha256=digest, size=len(data), inputs=tuple(inputs), outputs=tuple(outputs))


def encode_pack(header: PackHeader, files: Iterable[bytes]) -> bytes:
    """Return a pack.

    Args:
        header: describes the files.
        files: in the header's order.

    Raises:
        PackError: if it would be too large.
    """
    described = msgspec.json.encode(header)
    pack = b"".join([MAGIC, len(described).to_bytes(_LENGTH_BYTES, "little"), described, *files])
    if len(pack) > MAX_PACK_BYTES or len(described) > MAX_HEADER_BYTES or len(header.files) > MAX_FILES:
        raise PackError(f"pack: {len(header.files)} files of {len(pack)} bytes are more than one pack may hold")
    return pack
