"""Shared weights are quantized once; a rung's scales only multiply theirs."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from secateur.quantization import quantize_weights
from secateur.quantization.weights import rung_weight_scale


def test_values_are_within_half_a_step() -> None:
    weight = np.random.default_rng(0).normal(size=(6, 5, 3)).astype(np.float32)
    quantized = quantize_weights({"w": weight})["w"]
    assert quantized.values.dtype == np.int8
    error = np.abs(quantized.values * quantized.scale[:, None, None] - weight)
    assert (error <= quantized.scale[:, None, None] * 0.5 + 1e-9).all()
    np.testing.assert_array_equal(np.abs(quantized.values.reshape(6, -1)).max(1), 127)


def test_a_dead_filter_has_a_scale_that_kernels_accept() -> None:
    quantized = quantize_weights({"w": np.zeros((2, 3), np.float32)})["w"]
    assert (quantized.values == 0).all()
    assert (quantized.scale.astype(np.float32) > np.finfo(np.float32).tiny).all()


def test_a_cut_weight_is_the_cut_of_the_quantized_one() -> None:
    weight = np.random.default_rng(1).normal(size=(8, 6)).astype(np.float32)
    whole, rows = quantize_weights({"w": weight})["w"], quantize_weights({"w": weight[:5]})["w"]
    np.testing.assert_array_equal(whole.values[:5], rows.values)


@given(st.floats(1e-30, 1e6), st.floats(0, 1e3), st.floats(-1e6, 1e6), st.floats(1e-8, 1e3))
def test_a_rungs_scale_is_close_and_its_bias_fits(base: float, scale: float, shift: float, step: float) -> None:
    found = rung_weight_scale(np.array([base]), np.array([scale]), np.array([shift]), step)
    value = float(found[0])
    assert value > np.finfo(np.float32).tiny
    assert found.view("<u4")[0] & 0xFFFF == 0, "only the bits of a bfloat16"
    assert value >= base * scale * (1 - 2**-8)
    assert abs(shift) / (value * step) <= 2**31
