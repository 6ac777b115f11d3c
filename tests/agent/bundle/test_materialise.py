"""Materialise: a recipe and a base give the file, byte for byte, or a bundle error."""

from __future__ import annotations

import contextlib
import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from numpy.typing import NDArray
from onnxruntime import InferenceSession
from tests.bundle_factory import toy_base, toy_output, toy_rung

from secateur_agent.bundle.manifest import BundleError
from secateur_agent.bundle.materialise import cut_tensor, materialise, materialise_bytes
from secateur_agent.bundle.recipe import (
    Align,
    Length,
    Literal,
    Op,
    Product,
    Ranges,
    Recipe,
    Slice,
    Span,
    Varint,
    Vector,
    Word,
)
from secateur_agent.bundle.streams import varint

BASE: dict[str, NDArray[Any]] = {"w": np.arange(24, dtype=np.float32).reshape(2, 3, 4), "s": np.arange(4, dtype=np.int8)}


def recipe(
    ops: tuple[Op, ...],
    result: bytes,
    literals: bytes = b"",
    ints: tuple[int, ...] = (),
    slices: tuple[Ranges, ...] = (),
    vectors: bytes = b"",
) -> Recipe:
    return Recipe(1, hashlib.sha256(result).digest(), len(result), b"", ops, literals, ints, slices, vectors)


# --- each operation ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "data"), [(0, "00"), (127, "7f"), (128, "8001"), (300, "ac02"), (2**63 - 1, "ff" * 8 + "7f")]
)
def test_varints_are_those_of_protobuf(value: int, data: str) -> None:
    assert varint(value) == bytes.fromhex(data)
    assert materialise_bytes(recipe((Varint(),), varint(value), ints=(value,)), {}) == bytes.fromhex(data)


def test_literals_are_taken_from_the_front() -> None:
    assert materialise_bytes(recipe((Literal(1), Literal(2)), b"abc", literals=b"abc"), {}) == b"abc"


def test_a_slice_is_ranges_per_axis_then_a_permutation() -> None:
    want = BASE["w"][:, [0, 2], 1:3].transpose(2, 0, 1).tobytes()
    ranges = ((), (0, 1, 2, 3), (1, 3))
    assert materialise_bytes(recipe((Slice("w", (2, 0, 1)),), want, slices=(ranges,)), BASE) == want


def test_a_vector_has_its_length_from_the_integers() -> None:
    values = np.array([1, -2], "<i4").tobytes()
    assert materialise_bytes(recipe((Vector("i32"),), values, ints=(2,), vectors=values), {}) == values


def test_a_product_is_a_vector_times_a_scalar_in_float32() -> None:
    vector, scalar = np.array([0.1, 3e38], "<f4"), np.array([3.3], "<f4")
    with np.errstate(over="ignore"):
        want = vector.tobytes() + (vector * scalar).astype("<f4").tobytes()
    one = recipe((Vector("f32"), Product(0)), want, ints=(2,), vectors=vector.tobytes() + scalar.tobytes())
    assert materialise_bytes(one, {}) == want


def test_numpy_agrees_with_onnx_runtime_on_the_file_of_every_width() -> None:
    base = toy_base()
    x = np.random.default_rng(1).standard_normal((5, 4)).astype(np.float32)
    for width in (16, 9, 1):
        rung = toy_rung(base, width)
        model = materialise_bytes(rung.recipe, base)
        assert model == rung.model
        onnx.checker.check_model(onnx.load_from_string(model), full_check=True)
        (y,) = InferenceSession(model, providers=["CPUExecutionProvider"]).run(None, {"x": x})
        np.testing.assert_allclose(y, toy_output(base, rung, x), rtol=1e-4, atol=1e-5)


# --- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "ranges",
    [
        ((0, 3), (), ()),
        ((1, 1), (), ()),
        ((1, 0), (), ()),
        ((0,), (), ()),
        ((0, 2, 1, 2), (), ()),
        ((), ()),
        ((), (), (), ()),
    ],
    ids=str,
)
def test_ranges_that_do_not_fit_overlap_or_descend_are_refused(ranges: Ranges) -> None:
    with pytest.raises(BundleError, match=r"here: "):
        cut_tensor(BASE["w"], ranges, (), "here")


@pytest.mark.parametrize("axes", [(0,), (0, 1, 1), (0, 1, 3), (2, 1, 0, 3)])
def test_axes_that_are_no_permutation_are_refused(axes: tuple[int, ...]) -> None:
    with pytest.raises(BundleError, match="permutation"):
        cut_tensor(BASE["w"], ((), (), ()), axes)


def test_more_ranges_than_the_limit_are_refused() -> None:
    tensor = np.arange(4096, dtype=np.float32)

    def every_second(count: int) -> tuple[int, ...]:
        return tuple(value for start in range(0, 2 * count, 2) for value in (start, start + 1))

    assert len(cut_tensor(tensor, (every_second(1024),), ())) == 1024
    with pytest.raises(BundleError):
        cut_tensor(tensor, (every_second(1025),), ())


@pytest.mark.parametrize(
    "bad",
    [
        recipe((Literal(2),), b"ab", literals=b"a"),
        recipe((Varint(),), b"\0"),
        recipe((Slice("w"),), b""),
        recipe((Slice("missing"),), b"", slices=((),)),
        recipe((Vector("f32"),), b"", ints=(1,), vectors=b"\0"),
        recipe((Vector("f32"),), b"", ints=(2**63 - 1,), vectors=b"\0"),
        recipe((Product(0),), b"", vectors=b"\0" * 4),
        recipe((Vector("i8"), Product(0)), b"\0", ints=(1,), vectors=b"\0" * 5),
        recipe((), b"", literals=b"left"),
        recipe((), b"", ints=(1,)),
        recipe((), b"", slices=((),)),
        recipe((), b"", vectors=b"left"),
        recipe((Literal(1),), b"b", literals=b"a"),
        recipe((Literal(1),), b"", literals=b"a"),
        recipe((Literal(1),), b"ab", literals=b"a"),
        recipe((Word(),), bytes(4)),
        recipe((Word(),), bytes(4), ints=(1 << 32,)),
        recipe((Span(1),), bytes(4)),
        recipe((Span(1, 2), Literal(1)), b"\0\0\0\0a", literals=b"a"),
        recipe((Length(1), Align(4)), bytes(4)),
    ],
)
def test_a_program_that_does_not_fit_its_streams_base_or_result_is_refused(bad: Recipe) -> None:
    with pytest.raises(BundleError, match="here"):
        materialise_bytes(bad, BASE, "here")


def test_a_changed_weight_changes_the_file_and_is_noticed() -> None:
    base = toy_base()
    rung = toy_rung(base, 8)
    base["hidden"][0, 0] += 1
    with pytest.raises(BundleError, match="digest"):
        materialise_bytes(rung.recipe, base)


def test_stops_writing_as_soon_as_more_comes_than_promised(tmp_path: Path) -> None:
    rung = toy_rung(toy_base(), 8)
    written: list[bytes] = []
    with pytest.raises(BundleError, match="more than the 100 bytes"):
        materialise(replace(rung.recipe, size=100), toy_base(), written.append)
    assert sum(map(len, written)) <= 100


# --- properties -------------------------------------------------------------------------------------------------------

ranges_values = st.lists(st.lists(st.integers(0, 5), max_size=4).map(tuple), max_size=3).map(tuple)


@given(ranges_values, st.lists(st.integers(0, 3), max_size=3).map(tuple))
def test_any_ranges_give_a_part_of_the_tensor_or_a_bundle_error(ranges: Ranges, axes: tuple[int, ...]) -> None:
    with contextlib.suppress(BundleError):
        part = cut_tensor(BASE["w"], ranges, axes)
        assert set(part.ravel().tolist()) <= set(BASE["w"].ravel().tolist())
        assert part.flags.c_contiguous


op_values: st.SearchStrategy[Op] = st.one_of(
    st.builds(Literal, st.integers(0, 4)),
    st.just(Varint()),
    st.builds(Slice, st.sampled_from(["w", "s", "x"]), st.lists(st.integers(0, 3), max_size=3).map(tuple)),
    st.builds(Vector, st.sampled_from(["f32", "i8", "i64"])),
    st.builds(Product, st.integers(0, 2)),
    st.builds(Length, st.integers(0, 3)),
    st.just(Word()),
    st.builds(Span, st.integers(0, 3), st.integers(1, 4), st.integers(0, 4)),
    st.builds(Align, st.integers(1, 16), st.integers(0, 4)),
)


@given(
    st.lists(op_values, max_size=6).map(tuple),
    st.binary(max_size=8),
    st.lists(st.integers(0, 5) | st.integers(0, 2**63 - 1), max_size=4).map(tuple),
    st.lists(ranges_values, max_size=3).map(tuple),
    st.binary(max_size=20),
    st.integers(0, 1000),
)
def test_no_program_gets_past_the_digest(
    ops: tuple[Op, ...],
    literals: bytes,
    ints: tuple[int, ...],
    slices: tuple[Ranges, ...],
    vectors: bytes,
    size: int,
) -> None:
    promised = Recipe(1, b"\0" * 32, size, b"", ops, literals, ints, slices, vectors)
    with pytest.raises(BundleError):
        materialise_bytes(promised, BASE)
