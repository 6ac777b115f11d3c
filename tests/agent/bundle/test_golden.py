"""Golden checks: the same inputs everywhere, and an honest distance."""

from __future__ import annotations

import hashlib

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from secateur_agent.bundle.golden import golden_error, golden_errors, golden_inputs
from secateur_agent.bundle.manifest import BundleError, Golden, GoldenOutput, TensorSpec


def golden(seed: int = 1, low: float = -1.0, high: float = 1.0, outputs: tuple[float, ...] = (1.0, 2.0)) -> Golden:
    return Golden(seed=seed, low=low, high=high, outputs=outputs, tolerance=0.1)


def test_inputs_are_those_of_the_specification() -> None:
    (x,) = golden_inputs(golden(seed=42, low=0.0, high=2.0), [TensorSpec(name="x", shape=(-1, 3))])
    block = hashlib.sha256(b"secateur-golden:42:0").digest()
    want = [2.0 * (int.from_bytes(block[4 * i : 4 * i + 4], "little") >> 8) / 2**24 for i in range(3)]
    assert x.dtype == np.float32
    assert x.shape == (1, 3)
    assert x.ravel().tolist() == [float(np.float32(value)) for value in want]


def test_block_numbers_run_on_from_one_input_to_the_next() -> None:
    both = golden_inputs(golden(), [TensorSpec(name="a", shape=(9,)), TensorSpec(name="b", shape=(8,))])
    (long,) = golden_inputs(golden(), [TensorSpec(name="a", shape=(24,))])
    assert both[0].tolist() == long[:9].tolist()
    assert both[1].tolist() == long[16:].tolist()


@given(st.integers(0, 2**53), st.floats(-1e6, 1e6), st.floats(-1e6, 1e6), st.lists(st.integers(-1, 5), max_size=4))
def test_inputs_lie_in_the_range_and_depend_on_the_seed_alone(seed: int, low: float, high: float, shape: list[int]) -> None:
    spec = TensorSpec(name="x", shape=tuple(shape))
    (first,), (second,) = golden_inputs(golden(seed, low, high), [spec]), golden_inputs(golden(seed, low, high), [spec])
    np.testing.assert_array_equal(first, second)
    assert first.shape == tuple(1 if size == -1 else size for size in shape)
    assert (first >= np.float32(min(low, high))).all()
    assert (first <= np.float32(max(low, high))).all()


@pytest.mark.parametrize("shape", [(1 << 27,), (1 << 20, 1 << 20, 1 << 20), (-2, 4)])
def test_an_absurd_input_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(BundleError, match="input x"):
        golden_inputs(golden(), [TensorSpec(name="x", shape=shape)])


def test_error_is_the_largest_difference_over_what_is_expected() -> None:
    assert golden_error(golden(), np.array([[1.0, 2.5, 99.0]], np.float32)) == pytest.approx(0.5)


@pytest.mark.parametrize("output", [[1.0], [np.nan, 2.0], [1.0, np.inf], []])
def test_an_output_that_is_short_or_not_finite_is_infinitely_wrong(output: list[float]) -> None:
    assert golden_error(golden(), np.array(output, np.float32)) == float("inf")


def test_every_output_has_its_own_tolerance_and_one_that_is_not_compared_may_be_anything() -> None:
    known = GoldenOutput(outputs=(3.0,), tolerance=0.5)
    check = msgspec.structs.replace(golden(), others=(GoldenOutput(outputs=(), tolerance=0.0), known))
    outputs = [np.array([1.0, 2.0]), np.array([7]), np.array([[3.25, 8.0]])]
    assert golden_errors(check, outputs) == [(0.0, 0.1), (0.0, 0.0), (0.25, 0.5)]
    with pytest.raises(BundleError, match="3 outputs are expected, there are 2"):
        golden_errors(check, outputs[:2])
