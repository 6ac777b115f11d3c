"""What every calibrator must do, and what each is there for."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from secateur.quantization import CALIBRATORS, Histogram, calibrate


def histogram_of(values: NDArray[np.float64]) -> Histogram:
    low, high = float(values.min()), float(values.max())
    counts, _ = np.histogram(values, 2048, (low, high))
    return Histogram(low, high, counts.astype(np.float64))


def squared_error(values: NDArray[np.float64], low: float, high: float) -> float:
    step = (high - low) / 255
    quantized = low + step * np.clip(np.rint((values - low) / step), 0, 255)
    return float(((quantized - values) ** 2).mean())


@pytest.mark.parametrize("name", CALIBRATORS)
@given(seed=st.integers(0, 1000), scale=st.floats(1e-3, 1e3), middle=st.floats(-30, 30))
def test_a_range_lies_within_what_was_seen_or_reaches_to_0(name: str, seed: int, scale: float, middle: float) -> None:
    values = (np.random.default_rng(seed).normal(size=500) + middle) * scale
    found = histogram_of(values)
    low, high = CALIBRATORS[name](found)
    assert low < high
    assert low >= min(found.low, 0) - 1e-9 * scale
    assert high <= max(found.high, 0) + 1e-9 * scale


@pytest.mark.parametrize("name", ["percentile", "entropy"])
def test_a_lone_outlier_does_not_cost_all_others_their_resolution(name: str) -> None:
    values = np.append(np.random.default_rng(0).normal(size=50_000), 60.0)
    found = histogram_of(values)
    low, high = CALIBRATORS[name](found)
    assert high < 20
    assert squared_error(values[:-1], low, high) < squared_error(values[:-1], found.low, found.high) / 4


@pytest.mark.parametrize("name", CALIBRATORS)
def test_behind_a_relu_nothing_below_0_is_covered(name: str) -> None:
    values = np.maximum(np.random.default_rng(1).normal(size=20_000), 0)
    low, high = CALIBRATORS[name](histogram_of(values))
    assert low == pytest.approx(0, abs=1e-6)
    assert high > 1


def test_least_squares_are_found() -> None:
    values = np.random.default_rng(2).laplace(size=20_000)
    found = histogram_of(values)
    chosen = squared_error(values, *CALIBRATORS["mse"](found))
    assert all(chosen <= 1.02 * squared_error(values, *found.clipped(limit)) for limit in found.limits(30, 0.1))


def test_tensors_without_a_histogram_keep_their_range() -> None:
    found = calibrate("mse", {}, {"constant": (0.5, 0.5)})
    assert found == {"constant": (0.5, 0.5)}
