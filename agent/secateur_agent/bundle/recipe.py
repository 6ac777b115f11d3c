"""Recipes: how to write one rung's model file exactly (``docs/bundle.md``). Encoding, decoding and inheritance."""

from __future__ import annotations

import lzma
from typing import Annotated

import msgspec
from msgspec import Meta

from secateur_agent.bundle.manifest import BundleError

MAGIC = b"SCTRCP1\n"
MAX_UNPACKED_BYTES = 16 << 20
MAX_RESULT_BYTES = 1 << 31
VECTOR_ITEM_BYTES = {"f32": 4, "i8": 1, "u8": 1, "i32": 4, "i64": 8}

LITERAL, VARINT, SLICE, VECTOR, PRODUCT, LENGTH, WORD, SPAN, ALIGN = range(9)
_OPS = Meta(ge=0, le=65536)


class Literal(msgspec.Struct, array_like=True, tag=LITERAL, frozen=True):
    """Write the next ``length`` bytes of the literals."""

    length: Annotated[int, Meta(ge=0, le=MAX_UNPACKED_BYTES)]


class Varint(msgspec.Struct, array_like=True, tag=VARINT, frozen=True):
    """Write the next integer as a protobuf varint."""


class Slice(msgspec.Struct, array_like=True, tag=SLICE, frozen=True):
    """Write the next slice of base tensor ``tensor``, axes permuted to ``axes`` (empty: unchanged)."""

    tensor: str
    axes: tuple[int, ...] = ()


class Vector(msgspec.Struct, array_like=True, tag=VECTOR, frozen=True):
    """Write a vector of private values; ``dtype`` is a key of `VECTOR_ITEM_BYTES`."""

    dtype: str


class Product(msgspec.Struct, array_like=True, tag=PRODUCT, frozen=True):
    """Write vector number ``vector`` times a float32 scalar."""

    vector: Annotated[int, Meta(ge=0)]


class Length(msgspec.Struct, array_like=True, tag=LENGTH, frozen=True):
    """Write, as a protobuf varint, how many bytes the next ``ops`` operations write."""

    ops: Annotated[int, _OPS]


class Word(msgspec.Struct, array_like=True, tag=WORD, frozen=True):
    """Write the next integer as 32 bits, the lowest byte first."""


class Span(msgspec.Struct, array_like=True, tag=SPAN, frozen=True):
    """Write ``extra`` + the bytes that the next ``ops`` operations write ÷ ``unit``, as 32 bits.

    FlatBuffers' offsets are that, and the lengths of its vectors.
    """

    ops: Annotated[int, _OPS]
    unit: Annotated[int, Meta(ge=1, le=16)] = 1
    extra: Annotated[int, Meta(ge=0, le=16)] = 0


class Align(msgspec.Struct, array_like=True, tag=ALIGN, frozen=True):
    """Write zeros until ``ahead`` bytes further the position in the file is a multiple of ``boundary``."""

    boundary: Annotated[int, Meta(ge=1, le=64)]
    ahead: Annotated[int, Meta(ge=0, le=64)] = 0


Op = Literal | Varint | Slice | Vector | Product | Length | Word | Span | Align
Ranges = tuple[tuple[Annotated[int, Meta(ge=0, le=1 << 40)], ...], ...]


class Recipe(msgspec.Struct, array_like=True, frozen=True, kw_only=False):
    """A decoded recipe; the fields are those of the specification, in its order."""

    v: Annotated[int, Meta(ge=1, le=1)]
    sha256: Annotated[bytes, Meta(min_length=32, max_length=32)]
    size: Annotated[int, Meta(ge=0, le=MAX_RESULT_BYTES)]
    parent: Annotated[bytes, Meta(max_length=32)]
    ops: Annotated[tuple[Op, ...], Meta(max_length=65536)]
    literals: bytes
    ints: tuple[Annotated[int, Meta(ge=0, le=2**63 - 1)], ...]
    slices: tuple[Ranges, ...]
    vectors: bytes


def encode_recipe(recipe: Recipe) -> bytes:
    """Encode a recipe as a file; the same recipe gives the same bytes."""
    packed = msgspec.msgpack.encode(recipe)
    # A dictionary no larger than the data: the preset's 64 MiB would be asked of every device that unpacks this.
    dictionary = max(4096, len(packed))
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME, "dict_size": dictionary}]
    return MAGIC + lzma.compress(packed, lzma.FORMAT_XZ, lzma.CHECK_CRC32, filters=filters)


def decode_recipe(data: bytes, what: str = "recipe") -> Recipe:
    """Decode a recipe file.

    Args:
        data: the file's bytes.
        what: name for the error line.

    Raises:
        BundleError: if it is not a recipe, is cut short, or unpacks to more than the limit.
    """
    if not data.startswith(MAGIC):
        raise BundleError(f"{what}: not a recipe of version 1 (it begins with {data[:8]!r})")
    unpacker = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=128 << 20)
    try:
        packed = unpacker.decompress(data[len(MAGIC) :], MAX_UNPACKED_BYTES + 1)
    except lzma.LZMAError as error:
        raise BundleError(f"{what}: damaged: {error}") from None
    if len(packed) > MAX_UNPACKED_BYTES:
        raise BundleError(f"{what}: unpacks to more than {MAX_UNPACKED_BYTES} bytes")
    if not unpacker.eof or unpacker.unused_data:
        raise BundleError(f"{what}: cut short or followed by other data")
    try:
        recipe = msgspec.msgpack.decode(packed, type=Recipe)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise BundleError(f"{what}: malformed: {error}") from None
    if len(recipe.parent) not in (0, 32):
        raise BundleError(f"{what}: the parent's digest has {len(recipe.parent)} bytes, not 32")
    if recipe.parent and (recipe.ops or recipe.literals):
        raise BundleError(f"{what}: has a parent and a program of its own; one or the other")
    for op in recipe.ops:
        if isinstance(op, Vector) and op.dtype not in VECTOR_ITEM_BYTES:
            raise BundleError(f"{what}: vector type {op.dtype!r} is not one of {', '.join(VECTOR_ITEM_BYTES)}")
    return recipe


def vector_lengths(recipe: Recipe, ops: tuple[Op, ...]) -> list[int]:
    """Return the length of each vector that the program writes, in order.

    Raises:
        BundleError: if the program wants more integers than there are.
    """
    lengths, position = [], 0
    for op in ops:
        if isinstance(op, (Varint, Vector, Word)):
            if position >= len(recipe.ints):
                raise BundleError("recipe: the program wants more integers than it has")
            if isinstance(op, Vector):
                lengths.append(recipe.ints[position])
            position += 1
    return lengths


def inherit(child: Recipe, parent: Recipe, what: str = "recipe") -> Recipe:
    """Give ``child`` the program and literals of ``parent``, within what a child may do.

    Raises:
        BundleError: if the parent has a parent itself, or an integer (a size, or the length of a vector) is larger than the
            parent's in that place: a child is never wider.
    """
    if parent.parent:
        raise BundleError(f"{what}: its parent has a parent itself; only one level is allowed")
    allowed = vector_lengths(parent, parent.ops)
    for index, length in enumerate(vector_lengths(child, parent.ops)):
        if length > allowed[index]:
            raise BundleError(f"{what}: vector {index} has {length} values, its parent only {allowed[index]}")
    if any(mine > theirs for mine, theirs in zip(child.ints, parent.ints)):
        raise BundleError(f"{what}: a size is larger than its parent's")
    return msgspec.structs.replace(child, parent=b"", ops=parent.ops, literals=parent.literals)
