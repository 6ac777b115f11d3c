"""Materialise: write a rung's model file from its recipe and the base, byte for byte, digest checked."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from secateur_agent.bundle.manifest import BundleError
from secateur_agent.bundle.recipe import (
    VECTOR_ITEM_BYTES,
    Align,
    Length,
    Literal,
    Product,
    Recipe,
    Slice,
    Span,
    Varint,
    Vector,
    Word,
)
from secateur_agent.bundle.sizes import Base, computed_pieces
from secateur_agent.bundle.streams import Streams, varint, word

_MAX_RANGES = 1024


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


def write_pieces(recipe: Recipe, base: Base, what: str) -> Iterator[bytes]:
    """Yield the pieces of the file that a recipe writes, digest not checked: for the host, which computes it."""
    streams = Streams(recipe, what)
    written: list[tuple[str, bytes]] = []
    computed = computed_pieces(recipe, base, what)
    for number, op in enumerate(recipe.ops):
        if isinstance(op, (Length, Span, Align)):
            yield computed[number]
        elif isinstance(op, Literal):
            yield streams.take("literals", op.length)
        elif isinstance(op, Varint):
            yield varint(streams.integer())
        elif isinstance(op, Word):
            yield word(streams.integer(), what)
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
