"""FlatBuffers as pieces (the encoding of https://flatbuffers.dev, little-endian).

All that has the same size in every rung of a program comes first: tables, their layouts, vectors of a fixed length. What
differs in size lies behind it, so that only offsets to there depend on the rung: whoever writes the file computes them.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from secateur.export.program import Aligned, Counted, Mark, Offset, Piece, Word

_HEADER_BYTES = 8
_WORD_BYTES, _LONG_BYTES = 4, 8
_NUMBER = "<i"


@dataclass(frozen=True)
class Int:
    """A 32-bit integer; `Word` is one that may differ between rungs."""

    value: int


@dataclass(frozen=True)
class Byte:
    """An 8-bit integer or truth value."""

    value: int


@dataclass(frozen=True)
class Float:
    """A 32-bit float."""

    value: float


@dataclass(eq=False)
class Table:
    """A table: number of the field → its value; a field that is missing has its default."""

    fields: Mapping[int, Field]


@dataclass(eq=False)
class Tables:
    """A vector of tables."""

    items: Sequence[Table]


@dataclass(eq=False)
class Ints:
    """A vector of 32-bit integers whose length is the same in every rung."""

    values: Sequence[int | Word]


@dataclass(eq=False)
class Text:
    """A string."""

    value: str


@dataclass(eq=False)
class Data:
    """A vector whose length may differ between rungs; several fields may have the same.

    Attributes:
        pieces: what it contains.
        item_bytes: bytes of an item.
        boundary: of which its first item lies on a multiple.
    """

    pieces: Sequence[Piece]
    item_bytes: int
    boundary: int
    mark: Mark = field(default_factory=Mark)


Fixed: TypeAlias = Table | Tables | Ints | Text
Field: TypeAlias = Int | Word | Byte | Float | Fixed | Data


def render(root: Table, identifier: bytes) -> list[Piece]:
    """Return a file.

    Args:
        root: its root table.
        identifier: the four bytes that tell what it is.
    """
    return _Renderer(root, identifier).pieces


class _Renderer:
    def __init__(self, root: Table, identifier: bytes) -> None:
        self._objects = list(_preorder(root))
        self._layouts = {id(o): _layout(o) for o in self._objects if isinstance(o, Table)}
        self._places: dict[int, int] = {}
        self._vtables: dict[bytes, int] = {}
        position = _HEADER_BYTES
        for layout in self._layouts.values():
            if layout.vtable not in self._vtables:
                self._vtables[layout.vtable] = position
                position += len(layout.vtable)
        self._first = position = _aligned(position)
        for each in self._objects:
            self._places[id(each)] = position
            position = _aligned(position + self._size(each))
        self._data: dict[int, Data] = {}
        self.pieces: list[Piece] = [struct.pack("<I", self._places[id(root)]), identifier]
        self._write()

    def _size(self, each: Fixed) -> int:
        if isinstance(each, Table):
            return self._layouts[id(each)].size
        if isinstance(each, Text):
            return _WORD_BYTES + len(each.value.encode()) + 1
        return _WORD_BYTES * (1 + len(each.items if isinstance(each, Tables) else each.values))

    def _write(self) -> None:
        vtables = b"".join(self._vtables)
        self.pieces.append(vtables.ljust(self._first - _HEADER_BYTES, b"\0"))
        for each in self._objects:
            place = self._places[id(each)]
            if isinstance(each, Table):
                self._table(each, place)
            elif isinstance(each, Text):
                text = each.value.encode()
                self.pieces.append(struct.pack("<I", len(text)) + text + b"\0")
            elif isinstance(each, Ints):
                self.pieces.append(struct.pack("<I", len(each.values)))
                self.pieces += [v if isinstance(v, Word) else struct.pack(_NUMBER, v) for v in each.values]
            else:
                self.pieces.append(struct.pack("<I", len(each.items)))
                starts = range(place + _WORD_BYTES, place + _WORD_BYTES * (1 + len(each.items)), _WORD_BYTES)
                self.pieces += [self._offset(start, item) for start, item in zip(starts, each.items)]
            size = self._size(each)
            self.pieces.append(bytes(_aligned(size) - size))
        # 64-bit numbers last: nearly all are zero points of 0, which compress to nothing side by side.
        for data in sorted(self._data.values(), key=lambda data: data.item_bytes == _LONG_BYTES):
            self.pieces += [Aligned(data.boundary, _WORD_BYTES), data.mark, Counted(data.pieces, data.item_bytes)]

    def _table(self, table: Table, place: int) -> None:
        layout = self._layouts[id(table)]
        self.pieces.append(struct.pack(_NUMBER, place - self._vtables[layout.vtable]))
        for number, start in layout.words:
            self.pieces.append(self._word(place + start, table.fields[number]))
        self.pieces.append(bytes(_byte(table.fields[number]) for number in layout.small))

    def _word(self, start: int, value: Field) -> Piece:
        if isinstance(value, Word):
            return value
        if isinstance(value, Int):
            return struct.pack(_NUMBER, value.value)
        if isinstance(value, Float):
            return struct.pack("<f", value.value)
        if isinstance(value, Data):
            self._data.setdefault(id(value), value)
            return Offset(value.mark)
        assert not isinstance(value, Byte)
        return self._offset(start, value)

    def _offset(self, start: int, to: Fixed) -> bytes:
        return struct.pack("<I", self._places[id(to)] - start)


@dataclass(frozen=True)
class _Layout:
    """Where the fields of a table lie: words first, then bytes."""

    words: tuple[tuple[int, int], ...]
    small: tuple[int, ...]
    size: int
    vtable: bytes


def _layout(table: Table) -> _Layout:
    small = tuple(number for number, value in sorted(table.fields.items()) if isinstance(value, Byte))
    large = [number for number in sorted(table.fields) if number not in small]
    words = tuple((number, _WORD_BYTES * (1 + i)) for i, number in enumerate(large))
    first = _WORD_BYTES * (1 + len(large))
    size = first + len(small)
    starts = dict(words) | {number: first + i for i, number in enumerate(small)}
    slots = [starts.get(number, 0) for number in range(max(starts, default=-1) + 1)]
    vtable = struct.pack(f"<{2 + len(slots)}H", 4 + 2 * len(slots), size, *slots)
    return _Layout(words, small, size, vtable)


def _preorder(root: Table) -> Iterator[Fixed]:
    """Every object behind all that refer to it: offsets only go forward."""
    waiting: list[Fixed] = [root]
    while waiting:
        each = waiting.pop()
        yield each
        if isinstance(each, Table):
            waiting += reversed([v for _, v in sorted(each.fields.items()) if isinstance(v, (Table, Tables, Ints, Text))])
        elif isinstance(each, Tables):
            waiting += reversed(each.items)


def _aligned(position: int) -> int:
    return -(-position // _WORD_BYTES) * _WORD_BYTES


def _byte(value: Field) -> int:
    assert isinstance(value, Byte)
    return value.value
