"""Lengths, offsets and padding are computed where the file is written, from sizes alone."""

from __future__ import annotations

import hashlib
import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from secateur_agent.bundle.manifest import BundleError
from secateur_agent.bundle.materialise import materialise_bytes
from secateur_agent.bundle.recipe import Align, Length, Literal, Op, Recipe, Slice, Span, Varint, Vector, Word
from secateur_agent.bundle.sizes import computed_pieces

BASE: dict[str, NDArray[Any]] = {"w": np.arange(12, dtype=np.int8).reshape(3, 4)}


def file_of(ops: tuple[Op, ...], result: bytes, **streams: Any) -> bytes:
    given_streams = {"literals": b"", "ints": (), "slices": (), "vectors": b"", **streams}
    return materialise_bytes(Recipe(1, hashlib.sha256(result).digest(), len(result), b"", ops, **given_streams), BASE)


def test_a_word_is_32_bits_with_the_lowest_byte_first() -> None:
    assert file_of((Word(),), b"\x04\x03\x02\x01", ints=(0x01020304,)) == b"\x04\x03\x02\x01"


def test_a_span_counts_what_follows_in_items_and_adds_to_it() -> None:
    vector = np.asarray([1.0, 2.0, 3.0], "<f4").tobytes()
    want = struct.pack("<I", 3) + vector
    assert file_of((Span(1, 4), Vector("f32")), want, ints=(3,), vectors=vector) == want
    want = struct.pack("<I", 4 + 2) + b"abz"
    assert file_of((Span(1, 1, 4), Literal(2), Literal(1)), want, literals=b"abz") == want


def test_a_span_over_a_slice_is_known_before_the_slice_is_cut() -> None:
    want = struct.pack("<I", 4) + BASE["w"][:2, 1:3].tobytes()
    assert file_of((Span(1), Slice("w")), want, slices=(((0, 2), (1, 3)),)) == want


def test_alignment_looks_at_the_position_in_the_file() -> None:
    want = b"a" + bytes(11) + struct.pack("<I", 2) + b"bc"
    ops = (Literal(1), Align(16, 4), Span(1), Literal(2))
    assert file_of(ops, want, literals=b"abc") == want  # the vector's items, behind its length, begin at 16


def test_a_span_counts_the_padding_between() -> None:
    want = struct.pack("<I", 8) + b"a" + bytes(3) + b"b"
    assert file_of((Span(2, 1, 4), Literal(1), Align(8), Literal(1)), want, literals=b"ab") == want


def test_a_length_counts_lengths_within_it() -> None:
    want = b"\x03\x01ab"
    assert file_of((Length(3), Length(1), Literal(1), Literal(1)), want, literals=b"ab") == want


@pytest.mark.parametrize(
    ("ops", "message"),
    [
        ((Span(2), Literal(0)), "measures 2 operations, more than follow"),
        ((Span(1, 4), Literal(3)), "counts 3 bytes in items of 4"),
        ((Length(1), Literal(1), Align(4)), "behind a length of unknown size"),
        ((Varint(), Align(4)), "more integers than it has"),
        ((Span(1), Slice("x")), "no tensor 'x'"),
    ],
)
def test_a_program_that_cannot_be_measured_is_refused(ops: tuple[Op, ...], message: str) -> None:
    with pytest.raises(BundleError, match=message):
        file_of(ops, b"", literals=b"abc", slices=(((),),))


@given(st.lists(st.integers(0, 40), min_size=1, max_size=8), st.sampled_from([1, 2, 4, 8, 16]), st.integers(0, 8))
def test_what_is_aligned_lies_on_its_boundary(lengths: list[int], boundary: int, ahead: int) -> None:
    ops: list[Op] = []
    for length in lengths:
        ops += [Align(boundary, ahead), Literal(length)]
    literals = bytes(range(1, 41)) * len(lengths)
    draft = Recipe(1, bytes(32), 0, b"", tuple(ops), literals[: sum(lengths)], (), (), b"")
    padding = computed_pieces(draft, {}, "here")
    position = 0
    for number, op in enumerate(ops):
        if isinstance(op, Literal):
            assert (position + ahead) % boundary == 0
            position += op.length
        else:
            position += len(padding[number])
