"""Recipes: encoding, decoding, and what a child may take from its parent."""

from __future__ import annotations

import contextlib
import lzma
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from secateur_agent.bundle.manifest import BundleError
from secateur_agent.bundle.recipe import (
    MAGIC,
    MAX_UNPACKED_BYTES,
    Align,
    Length,
    Literal,
    Op,
    Product,
    Recipe,
    Slice,
    Span,
    Varint,
    Vector,
    Word,
    decode_recipe,
    encode_recipe,
    inherit,
    vector_lengths,
)

RECIPE = Recipe(
    1,
    b"\x01" * 32,
    100,
    b"",
    (Literal(3), Varint(), Slice("w", (1, 0)), Vector("f32"), Product(0)),
    b"abc",
    (5, 2),
    (((0, 2), ()),),
    b"\0" * 12,
)
ENCODED = encode_recipe(RECIPE)

op_values: st.SearchStrategy[Op] = st.one_of(
    st.builds(Literal, st.integers(0, 100)),
    st.just(Varint()),
    st.builds(Slice, st.text(max_size=5), st.lists(st.integers(0, 4), max_size=3).map(tuple)),
    st.builds(Vector, st.sampled_from(["f32", "i8", "u8", "i32", "i64"])),
    st.builds(Product, st.integers(0, 5)),
    st.builds(Length, st.integers(0, 9)),
    st.just(Word()),
    st.builds(Span, st.integers(0, 9), st.integers(1, 16), st.integers(0, 16)),
    st.builds(Align, st.integers(1, 64), st.integers(0, 64)),
)
recipes = st.builds(
    Recipe,
    st.just(1),
    st.binary(min_size=32, max_size=32),
    st.integers(0, 1 << 31),
    st.just(b""),
    st.lists(op_values, max_size=8).map(tuple),
    st.binary(max_size=50),
    st.lists(st.integers(0, 2**63 - 1), max_size=5).map(tuple),
    st.lists(st.lists(st.lists(st.integers(0, 100), max_size=4).map(tuple), max_size=3).map(tuple), max_size=3).map(tuple),
    st.binary(max_size=50),
)


def packed(*fields: Any) -> bytes:
    """A recipe file with these fields, whatever they are."""
    return MAGIC + lzma.compress(msgspec.msgpack.encode(fields))


@given(recipes)
def test_survives_encoding_and_is_encoded_the_same_each_time(recipe: Recipe) -> None:
    data = encode_recipe(recipe)
    assert decode_recipe(data) == recipe
    assert encode_recipe(recipe) == data


def test_begins_with_the_magic_of_the_specification() -> None:
    assert ENCODED.startswith(b"SCTRCP1\n\xfd7zXZ")


@given(st.binary(max_size=200))
def test_random_bytes_give_a_bundle_error(data: bytes) -> None:
    for candidate in (data, MAGIC + data, MAGIC + lzma.compress(data)):
        with pytest.raises(BundleError):
            decode_recipe(candidate)


@given(st.integers(0, len(ENCODED) * 8 - 1))
def test_a_flipped_bit_is_noticed_or_changes_nothing(bit: int) -> None:
    altered = bytearray(ENCODED)
    altered[bit // 8] ^= 1 << bit % 8
    with contextlib.suppress(BundleError):
        assert decode_recipe(bytes(altered)) == RECIPE


@given(st.integers(0, len(ENCODED) - 1))
def test_a_recipe_cut_short_is_refused(length: int) -> None:
    with pytest.raises(BundleError):
        decode_recipe(ENCODED[:length])


def test_data_after_the_recipe_is_refused() -> None:
    with pytest.raises(BundleError, match="followed by other data"):
        decode_recipe(ENCODED + b"\0")


def test_a_bomb_is_refused_without_unpacking_it() -> None:
    bomb = MAGIC + lzma.compress(b"\0" * (MAX_UNPACKED_BYTES + 1))
    assert len(bomb) < 10_000
    with pytest.raises(BundleError, match="unpacks to more"):
        decode_recipe(bomb)


GOOD: dict[str, Any] = {
    "v": 1,
    "sha256": b"\0" * 32,
    "size": 1,
    "parent": b"",
    "ops": [],
    "literals": b"",
    "ints": [],
    "slices": [],
    "vectors": b"",
}


@pytest.mark.parametrize(
    "changes",
    [
        {"v": 2},
        {"sha256": b"\0" * 31},
        {"size": -1},
        {"size": (1 << 31) + 1},
        {"parent": b"\0" * 31},
        {"parent": b"\0" * 33},
        {"ops": [[9]]},
        {"ops": [[0, -1]]},
        {"ops": [[3, "f64"]]},
        {"ops": [[4, -1]]},
        {"ops": [[1]] * 65_537},
        {"ints": [-1]},
        {"ints": [2**63]},
        {"slices": [[["0", 1]]]},
        {"vectors": "text"},
        {"parent": b"\0" * 32, "ops": [[1]]},
        {"parent": b"\0" * 32, "literals": b"x"},
    ],
    ids=lambda changes: str(changes)[:40],
)
def test_a_field_outside_the_specification_is_refused(changes: dict[str, Any]) -> None:
    decode_recipe(packed(*GOOD.values()))
    with pytest.raises(BundleError, match="here: "):
        decode_recipe(packed(*{**GOOD, **changes}.values()), "here")


# --- what a child takes from its parent -------------------------------------------------------------------------------

CHILD = Recipe(1, b"\x02" * 32, 50, b"\x03" * 32, (), b"", (5, 1), (((0, 1), ()),), b"\0" * 8)


def test_a_child_gets_program_and_literals_and_keeps_its_own_numbers() -> None:
    whole = inherit(CHILD, RECIPE)
    assert (whole.ops, whole.literals) == (RECIPE.ops, RECIPE.literals)
    assert (whole.ints, whole.slices, whole.vectors) == (CHILD.ints, CHILD.slices, CHILD.vectors)
    assert (whole.sha256, whole.parent) == (CHILD.sha256, b"")


def test_a_childs_vector_may_be_as_long_as_its_parents_but_not_longer() -> None:
    assert vector_lengths(RECIPE, RECIPE.ops) == [2]
    inherit(replace(CHILD, ints=(5, 2)), RECIPE)
    with pytest.raises(BundleError, match="vector 0 has 3 values"):
        inherit(replace(CHILD, ints=(5, 3)), RECIPE)


def test_no_size_of_a_child_may_be_larger_than_its_parents() -> None:
    """A child is never wider; a stolen online key could ask for gigabytes otherwise."""
    first = RECIPE.ints[0]
    inherit(replace(CHILD, ints=(first, 1)), RECIPE)
    with pytest.raises(BundleError, match="a size is larger than its parent's"):
        inherit(replace(CHILD, ints=(first + 1, 1)), RECIPE)


def test_a_parent_may_not_have_a_parent() -> None:
    with pytest.raises(BundleError, match="only one level"):
        inherit(CHILD, CHILD)


def test_a_child_with_too_few_integers_is_refused() -> None:
    with pytest.raises(BundleError, match="more integers than it has"):
        inherit(replace(CHILD, ints=(5,)), RECIPE)
