"""Samples are split so that a network runs on them at its fastest."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from tests.compiler.networks import network_of

from secateur.ir import sample_count
from secateur.twin import split


@given(count=st.integers(1, 300), most=st.integers(1, 64), elements=st.integers(1, 1 << 20))
def test_parts_are_all_samples_in_order_and_within_bounds(count: int, most: int, elements: int) -> None:
    network = network_of("resnet-b")
    largest = max(math.prod(shape[1:]) for shape in network.shapes.values())
    samples = np.arange(count)
    parts = split(network, samples, elements, most)
    np.testing.assert_array_equal(np.concatenate(parts), samples)
    sizes = [sample_count(part) for part in parts]
    assert max(sizes) <= most
    assert max(sizes) == 1 or max(sizes) * largest <= elements
    assert max(sizes) - min(sizes) <= 1
