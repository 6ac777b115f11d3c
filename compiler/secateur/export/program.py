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
from secateur_agent.bundle.materialise import write_pieces
from secateur_agent.bundle.sizes import Base

_WORD_BYTES = 4
_DTYPES = {"<f4": "f32", "|i1": "i8", "|u1": "u8", "<i4": "i32", "<i8": "i64"}


@dataclass(frozen=True)
class Integer:
    """An integer written as a varint, which may differ between rungs."""

    value: int


@dataclass(frozen=True)
class Word:
    """An integer written as 32 bits, which may differ between rungs."""

    value: int


@dataclass(frozen=True)
class BaseSlice:
    """Kept rows and columns of a base tensor, axes permuted afterwards."""

    tensor: str
    index: tuple[NDArray[np.int64], ...]
    full: tuple[int, ...]
    axes: tuple[int, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape after the permutation."""
        sizes = [len(i) for i in self.index] + list(self.full[len(self.index) :])
        return tuple(sizes[axis] for axis in self.axes) if self.axes else tuple(sizes)

    @property
    def ranges(self) -> rc.Ranges:
        """Per axis the flat list of ranges; empty where the whole axis is kept."""
        kept = [_ranges(index, size) for index, size in zip(self.index, self.full)]
        return tuple(kept) + ((),) * (len(self.full) - len(kept))


@dataclass(frozen=True, eq=False)
class PrivateVector:
    """Values of this rung alone."""

    values: NDArray[np.generic]


@dataclass(frozen=True, eq=False)
class ScaledVector:
    """Another vector, written before, times a scalar in float32."""

    vector: PrivateVector
    factor: float


@dataclass(frozen=True, eq=False)
class Measured:
    """Pieces with their length in bytes before them, as a varint that whoever materialises the file computes."""

    pieces: Sequence[Piece]


@dataclass(frozen=True, eq=False)
class Counted:
    """Pieces with their length before them, in items of ``item_bytes``, as 32 bits."""

    pieces: Sequence[Piece]
    item_bytes: int


@dataclass(frozen=True)
class Aligned:
    """Zeros, until ``ahead`` bytes further the position in the file is a multiple of ``boundary``."""

    boundary: int
    ahead: int = 0


@dataclass(frozen=True, eq=False)
class Mark:
    """A place in the file, behind all `Offset` to it."""


@dataclass(frozen=True)
class Offset:
    """The distance from here to a mark in bytes, as 32 bits."""

    to: Mark


Piece: TypeAlias = (
    "bytes | Integer | Word | BaseSlice | PrivateVector | ScaledVector | Measured | Counted | Aligned | Mark | Offset"
)


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
        streams.finish()
        draft = rc.Recipe(
            1,
            bytes(32),
            0,
            b"",
            tuple(streams.ops),
            bytes(streams.literals),
            tuple(streams.ints),
            tuple(streams.slices),
            bytes(streams.vectors),
        )
        data = b"".join(write_pieces(draft, base, "rung"))
        return msgspec.structs.replace(draft, sha256=hashlib.sha256(data).digest(), size=len(data)), data


class _Streams:
    """The operations and streams of a recipe, while pieces are added."""

    def __init__(self) -> None:
        self.ops: list[rc.Op] = []
        self.literals, self.vectors = bytearray(), bytearray()
        self.ints: list[int] = []
        self.slices: list[rc.Ranges] = []
        self._numbers: dict[int, int] = {}
        self._marks: dict[int, int] = {}
        self._offsets: list[tuple[int, Mark]] = []

    def finish(self) -> None:
        """Fill in what offsets could not know when they were added: where their marks are."""
        for place, mark in self._offsets:
            self.ops[place] = rc.Span(self._marks[id(mark)] - place - 1, 1, _WORD_BYTES)

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
            elif isinstance(piece, Word):
                self.ops.append(rc.Word())
                self.ints.append(piece.value)
            elif isinstance(piece, Aligned):
                self.ops.append(rc.Align(piece.boundary, piece.ahead))
            elif isinstance(piece, Mark):
                self._marks[id(piece)] = len(self.ops)
            elif isinstance(piece, Offset):
                self._offsets.append((len(self.ops), piece.to))
                self.ops.append(rc.Span(0))
            else:
                place = len(self.ops)
                self.ops.append(rc.Length(0))
                self.add(piece.pieces)
                measured = len(self.ops) - place - 1
                self.ops[place] = rc.Length(measured) if isinstance(piece, Measured) else rc.Span(measured, piece.item_bytes)


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
