"""What a recipe's operations write about the size and place of others: lengths, offsets, padding.

Whoever materialises the file computes it, from the base's shapes alone: no number in a recipe can shift where a part of the
file begins.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

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
)
from secateur_agent.bundle.streams import Streams, varint, word

Base = Mapping[str, NDArray[np.generic]]
_WORD_BYTES = 4


def computed_pieces(recipe: Recipe, base: Base, what: str) -> dict[int, bytes]:
    """Return what each `Length`, `Span` and `Align` operation writes, by its number; nothing is copied to find out.

    Args:
        recipe: with a program.
        base: tensor name → array.
        what: name for the error line.

    Raises:
        BundleError: if an operation measures more than follows, or the recipe does not fit the base.
    """
    if not any(isinstance(op, (Length, Span, Align)) for op in recipe.ops):
        return {}
    sizes = _given_sizes(recipe, base, what)
    found = _aligned(recipe, sizes, what)
    behind = [0] * (len(sizes) + 1)
    for number in range(len(sizes) - 1, -1, -1):
        op = recipe.ops[number]
        if isinstance(op, (Length, Span)):
            if number + 1 + op.ops > len(sizes):
                raise BundleError(f"{what}: the recipe measures {op.ops} operations, more than follow")
            measured = behind[number + 1] - behind[number + 1 + op.ops]
            found[number] = varint(measured) if isinstance(op, Length) else _span(op, measured, what)
            sizes[number] = len(found[number])
        behind[number] = behind[number + 1] + sizes[number]
    return found


def _given_sizes(recipe: Recipe, base: Base, what: str) -> list[int]:
    """Bytes that each operation writes by itself; 0 of those that depend on others, but 4 of those that always take 4."""
    streams = Streams(recipe, what)
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
        elif isinstance(op, (Length, Align)):
            sizes.append(0)
        elif isinstance(op, Span):
            sizes.append(_WORD_BYTES)
        else:
            streams.integer()
            sizes.append(_WORD_BYTES)
    return sizes


def _aligned(recipe: Recipe, sizes: list[int], what: str) -> dict[int, bytes]:
    """What each `Align` writes; its size is written into ``sizes``."""
    found: dict[int, bytes] = {}
    position, known = 0, True
    for number, op in enumerate(recipe.ops):
        known = known and not isinstance(op, Length)  # its own size depends on what follows
        if isinstance(op, Align):
            if not known:
                raise BundleError(f"{what}: the recipe aligns what stands behind a length of unknown size")
            sizes[number] = -(position + op.ahead) % op.boundary
            found[number] = bytes(sizes[number])
        position += sizes[number]
    return found


def _span(op: Span, measured: int, what: str) -> bytes:
    if measured % op.unit:
        raise BundleError(f"{what}: the recipe counts {measured} bytes in items of {op.unit}")
    return word(measured // op.unit + op.extra, what)


def _slice_bytes(op: Slice, base: Base, ranges: tuple[tuple[int, ...], ...], what: str) -> int:
    if op.tensor not in base:
        raise BundleError(f"{what}: the base has no tensor {op.tensor!r}")
    tensor = base[op.tensor]
    kept = [sum(flat[1::2]) - sum(flat[0::2]) if flat else size for size, flat in zip(tensor.shape, ranges)]
    return max(0, tensor.itemsize * math.prod(kept))
