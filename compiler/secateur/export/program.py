"""A file under construction, as pieces: literal bytes, integers, slices of the base, private vectors.

The pieces give both the file's bytes and the recipe that writes it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

from secateur_agent.bundle import recipe as rc
from secateur_agent.bundle.materialise import Base, varint, write_pieces

_DTYPES = {"<f4": "f32", "|i1": "i8", "|u1": "u8", "<i4": "i32", "<i8": "i64"}


@dataclass(frozen=True)
class Integer:
    """An integer written as a varint, which may differ between rungs."""

    value: int

    @property
    def size(self) -> int:
        """Bytes it takes."""
        return len(varint(self.value))


@dataclass(frozen=True)
class BaseSlice:
    """Kept rows and columns of a base tensor, axes permuted afterwards."""

    tensor: str
    index: tuple[NDArray[np.int64], ...]
    full: tuple[int, ...]
    axes: tuple[int, ...]
    item_bytes: int

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape after the permutation."""
        sizes = [len(i) for i in self.index] + list(self.full[len(self.index) :])
        return tuple(sizes[axis] for axis in self.axes) if self.axes else tuple(sizes)

    @property
    def size(self) -> int:
        """Bytes it takes."""
        return int(np.prod(self.shape, dtype=np.int64)) * self.item_bytes

    @property
    def ranges(self) -> rc.Ranges:
        """Per axis the flat list of ranges; empty where the whole axis is kept."""
        kept = [_ranges(index, size) for index, size in zip(self.index, self.full)]
        return tuple(kept) + ((),) * (len(self.full) - len(kept))


@dataclass(frozen=True, eq=False)
class PrivateVector:
    """Values of this rung alone."""

    values: NDArray[np.generic]

    @property
    def size(self) -> int:
        """Bytes it takes."""
        return self.values.nbytes


@dataclass(frozen=True, eq=False)
class ScaledVector:
    """Another vector, written before, times a scalar in float32."""

    vector: PrivateVector
    factor: float

    @property
    def size(self) -> int:
        """Bytes it takes."""
        return self.vector.size


@dataclass(frozen=True, eq=False)
class Measured:
    """Pieces with their length in bytes before them, as a varint that whoever materialises the file computes."""

    pieces: Sequence[Piece]

    @property
    def size(self) -> int:
        """Bytes it takes, with the length."""
        inner = size_of(self.pieces)
        return len(varint(inner)) + inner


Piece: TypeAlias = "bytes | Integer | BaseSlice | PrivateVector | ScaledVector | Measured"


def size_of(pieces: Iterable[Piece]) -> int:
    """Return the bytes that pieces take."""
    return sum(len(piece) if isinstance(piece, bytes) else piece.size for piece in pieces)


def _ranges(index: NDArray[np.int64], size: int) -> tuple[int, ...]:
    if len(index) == size:
        return ()
    breaks = np.flatnonzero(np.diff(index) != 1)
    starts = [0, *(breaks + 1)]
    stops = [*(breaks + 1), len(index)]
    return tuple(int(v) for a, b in zip(starts, stops) for v in (index[a], index[b - 1] + 1))


@dataclass
class Program:
    """A complete file as pieces."""

    pieces: Sequence[Piece]

    def recipe(self, base: Base) -> tuple[rc.Recipe, bytes]:
        """Return the recipe with its own program, and the file that it writes.

        Args:
            base: base tensors by name.
        """
        streams = _Streams()
        streams.add(self.pieces)
        size = size_of(self.pieces)
        draft = rc.Recipe(
            1,
            bytes(32),
            size,
            b"",
            tuple(streams.ops),
            bytes(streams.literals),
            tuple(streams.ints),
            tuple(streams.slices),
            bytes(streams.vectors),
        )
        data = b"".join(write_pieces(draft, base, "rung"))
        return msgspec.structs.replace(draft, sha256=hashlib.sha256(data).digest()), data


class _Streams:
    """The operations and streams of a recipe, while pieces are added."""

    def __init__(self) -> None:
        self.ops: list[rc.Op] = []
        self.literals, self.vectors = bytearray(), bytearray()
        self.ints: list[int] = []
        self.slices: list[rc.Ranges] = []
        self._numbers: dict[int, int] = {}

    def add(self, pieces: Iterable[Piece]) -> None:
        """Add pieces; neighbouring literals become one operation."""
        joinable = False
        for piece in pieces:
            last = self.ops[-1] if joinable else None
            joinable = isinstance(piece, bytes)
            if isinstance(piece, bytes):
                self.literals += piece
                if isinstance(last, rc.Literal):
                    self.ops[-1] = rc.Literal(last.length + len(piece))
                else:
                    self.ops.append(rc.Literal(len(piece)))
            elif isinstance(piece, Integer):
                self.ops.append(rc.Varint())
                self.ints.append(piece.value)
            elif isinstance(piece, BaseSlice):
                self.ops.append(rc.Slice(piece.tensor, piece.axes))
                self.slices.append(piece.ranges)
            elif isinstance(piece, PrivateVector):
                self._numbers[id(piece)] = len(self._numbers)
                self.ops.append(rc.Vector(_DTYPES[piece.values.dtype.str]))
                self.ints.append(piece.values.size)
                self.vectors += piece.values.tobytes()
            elif isinstance(piece, ScaledVector):
                self.ops.append(rc.Product(self._numbers[id(piece.vector)]))
                self.vectors += np.asarray(piece.factor, "<f4").tobytes()
            else:
                place = len(self.ops)
                self.ops.append(rc.Length(0))
                self.add(piece.pieces)
                self.ops[place] = rc.Length(len(self.ops) - place - 1)


def child_of(recipe: rc.Recipe, parent: rc.Recipe, parent_sha256: bytes) -> rc.Recipe | None:
    """Return ``recipe`` without the program that it shares with ``parent``, or None if they differ in it.

    Args:
        recipe: with its own program.
        parent: with its own program.
        parent_sha256: digest of the parent's file.
    """
    if recipe.ops != parent.ops or recipe.literals != parent.literals:
        return None
    return msgspec.structs.replace(recipe, parent=parent_sha256, ops=(), literals=b"")
