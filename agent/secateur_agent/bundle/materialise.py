"""Materialise: write a rung's model file from its recipe and the base, byte for byte, digest checked."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from secateur_agent.bundle.manifest import BundleError
from secateur_agent.bundle.recipe import VECTOR_ITEM_BYTES, Length, Literal, Product, Recipe, Slice, Varint, Vector

_MAX_RANGES = 1024

Base = Mapping[str, NDArray[np.generic]]


def varint(value: int) -> bytes:
    """Encode a non-negative integer as a protobuf base-128 varint."""
    out = bytearray()
    while value > 0x7F:
        out.append(0x80 | value & 0x7F)
        value >>= 7
    out.append(value)
    return bytes(out)


def materialise(recipe: Recipe, base: Base, write: Callable[[bytes], object], what: str = "rung") -> None:
    """Follow a recipe (one with a program: see `inherit`).

    Args:
        recipe: the recipe.
        base: tensor name → array.
        write: takes the bytes of the file from front to back; what was written counts only if nothing was raised.
        what: name for the error line.

    Raises:
        BundleError: if the recipe does not fit the base, or the result is not the file that the recipe promises.
    """
    digest = hashlib.sha256()
    size = 0
    for piece in write_pieces(recipe, base, what):
        size += len(piece)
        if size > recipe.size:
            raise BundleError(f"{what}: the recipe writes more than the {recipe.size} bytes it promises")
        digest.update(piece)
        write(piece)
    if size != recipe.size or digest.digest() != recipe.sha256:
        raise BundleError(f"{what}: the result is not the file that the recipe promises (digest); base altered?")


def materialise_bytes(recipe: Recipe, base: Base, what: str = "rung") -> bytes:
    """Like `materialise`, but return the file's bytes."""
    pieces: list[bytes] = []
    materialise(recipe, base, pieces.append, what)
    return b"".join(pieces)


class _Streams:
    """The streams of a recipe, each read from the front."""

    def __init__(self, recipe: Recipe, what: str) -> None:
        self._what = what
        self._bytes = {"literals": memoryview(recipe.literals), "vectors": memoryview(recipe.vectors)}
        self._ints = iter(recipe.ints)
        self._slices = iter(recipe.slices)

    def take(self, stream: str, count: int) -> bytes:
        rest = self._bytes[stream]
        if count > len(rest):
            raise BundleError(f"{self._what}: the recipe wants {count} more bytes of {stream}, {len(rest)} are left")
        self._bytes[stream] = rest[count:]
        return bytes(rest[:count])

    def integer(self) -> int:
        for value in self._ints:
            return value
        raise BundleError(f"{self._what}: the recipe wants more integers than it has")

    def ranges(self) -> tuple[tuple[int, ...], ...]:
        for value in self._slices:
            return value
        raise BundleError(f"{self._what}: the recipe wants more slices than it has")

    def finish(self) -> None:
        left = [name for name, rest in self._bytes.items() if len(rest)]
        for name, rest in (("ints", self._ints), ("slices", self._slices)):
            left += [name] if next(iter(rest), None) is not None else []
        if left:
            raise BundleError(f"{self._what}: the recipe does not use all of its {' and '.join(left)}")


def write_pieces(recipe: Recipe, base: Base, what: str) -> Iterator[bytes]:
    """Yield the pieces of the file that a recipe writes, digest not checked: for the host, which computes it."""
    streams = _Streams(recipe, what)
    written: list[tuple[str, bytes]] = []
    lengths = _lengths(recipe, base, what)
    for number, op in enumerate(recipe.ops):
        if isinstance(op, Length):
            yield varint(lengths[number])
        elif isinstance(op, Literal):
            yield streams.take("literals", op.length)
        elif isinstance(op, Varint):
            yield varint(streams.integer())
        elif isinstance(op, Slice):
            if op.tensor not in base:
                raise BundleError(f"{what}: the base has no tensor {op.tensor!r}")
            yield cut_tensor(base[op.tensor], streams.ranges(), op.axes, f"{what}: tensor {op.tensor}").tobytes()
        elif isinstance(op, Vector):
            values = streams.take("vectors", streams.integer() * VECTOR_ITEM_BYTES[op.dtype])
            written.append((op.dtype, values))
            yield values
        else:
            yield _product(op, written, streams.take("vectors", 4), what)
    streams.finish()


def _lengths(recipe: Recipe, base: Base, what: str) -> dict[int, int]:
    """Return what each `Length` operation writes, by its number; nothing is copied to find out."""
    if not any(isinstance(op, Length) for op in recipe.ops):
        return {}
    streams = _Streams(recipe, what)
    sizes: list[int] = []
    vectors: list[int] = []
    for op in recipe.ops:
        if isinstance(op, Literal):
            sizes.append(op.length)
        elif isinstance(op, Varint):
            sizes.append(len(varint(streams.integer())))
        elif isinstance(op, Slice):
            sizes.append(_slice_bytes(op, base, streams.ranges(), what))
        elif isinstance(op, Vector):
            vectors.append(streams.integer() * VECTOR_ITEM_BYTES[op.dtype])
            sizes.append(vectors[-1])
        elif isinstance(op, Product):
            if op.vector >= len(vectors):
                raise BundleError(f"{what}: the recipe multiplies vector {op.vector}, which is not an f32 vector before it")
            sizes.append(vectors[op.vector])
        else:
            sizes.append(0)
    found: dict[int, int] = {}
    behind = [0] * (len(sizes) + 1)
    for number in range(len(sizes) - 1, -1, -1):
        op = recipe.ops[number]
        if isinstance(op, Length):
            if number + 1 + op.ops > len(sizes):
                raise BundleError(f"{what}: the recipe measures {op.ops} operations, more than follow")
            found[number] = behind[number + 1] - behind[number + 1 + op.ops]
            sizes[number] = len(varint(found[number]))
        behind[number] = behind[number + 1] + sizes[number]
    return found


def _slice_bytes(op: Slice, base: Base, ranges: tuple[tuple[int, ...], ...], what: str) -> int:
    if op.tensor not in base:
        raise BundleError(f"{what}: the base has no tensor {op.tensor!r}")
    tensor = base[op.tensor]
    count = tensor.itemsize
    for size, flat in zip(tensor.shape, ranges):
        count *= sum(flat[1::2]) - sum(flat[0::2]) if flat else size
    return max(0, count)


def _product(op: Product, written: list[tuple[str, bytes]], scalar: bytes, what: str) -> bytes:
    if op.vector >= len(written) or written[op.vector][0] != "f32":
        raise BundleError(f"{what}: the recipe multiplies vector {op.vector}, which is not an f32 vector before it")
    vector: NDArray[np.float32] = np.frombuffer(written[op.vector][1], "<f4")
    factor: NDArray[np.float32] = np.frombuffer(scalar, "<f4")
    with np.errstate(all="ignore"):
        product: NDArray[np.float32] = np.multiply(vector, factor, dtype=np.float32)
    return product.astype("<f4").tobytes()


def cut_tensor(
    tensor: NDArray[np.generic], ranges: tuple[tuple[int, ...], ...], axes: tuple[int, ...], what: str = "slice"
) -> NDArray[np.generic]:
    """Apply a slice.

    Args:
        tensor: the base tensor.
        ranges: per axis, a flat list ``start, stop, start, stop, …``; empty keeps the whole axis.
        axes: permutation of the axes afterwards; empty leaves them.
        what: name for the error line.

    Returns:
        The cut tensor, contiguous.

    Raises:
        BundleError: if the ranges do not fit the tensor, overlap or descend, or ``axes`` is no permutation.
    """
    if len(ranges) != tensor.ndim:
        raise BundleError(f"{what}: {len(ranges)} axes sliced, but it has {tensor.ndim}")
    for axis, flat in enumerate(ranges):
        if not flat:
            continue
        ascending = all(a < b for a, b in zip(flat[0::2], flat[1::2])) and all(
            b <= a for b, a in zip(flat[1::2], flat[2::2])
        )
        if len(flat) % 2 or len(flat) > 2 * _MAX_RANGES or not ascending or flat[-1] > tensor.shape[axis]:
            raise BundleError(f"{what}: ranges {list(flat)[:8]} do not fit axis {axis} of size {tensor.shape[axis]}")
        if len(flat) == 2:
            tensor = tensor[(slice(None),) * axis + (slice(flat[0], flat[1]),)]
        else:
            index = np.concatenate([np.arange(a, b) for a, b in zip(flat[0::2], flat[1::2])])
            tensor = np.take(tensor, index, axis)
    if axes:
        if sorted(axes) != list(range(tensor.ndim)):
            raise BundleError(f"{what}: {list(axes)} is not a permutation of its axes")
        tensor = tensor.transpose(axes)
    return np.ascontiguousarray(tensor)
