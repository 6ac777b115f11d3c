"""Histograms count every value of every tensor once."""

from __future__ import annotations

import numpy as np
import pytest
from tests.compiler.networks import MAKERS, TOPOLOGIES, network_of, samples

from secateur.quantization import measure_ranges, observe


@pytest.mark.parametrize("name", TOPOLOGIES)
def test_all_values_are_counted(name: str) -> None:
    network, x = network_of(name), samples(MAKERS[name][1], 40)
    ranges = measure_ranges(network, x)
    for tensor, found in observe(network, x, ranges).items():
        assert found.counts.sum() == 40 * np.prod(network.shapes[tensor][1:])
        assert (found.low, found.high) == ranges[tensor]
        mean = float((found.counts * found.centres).sum() / found.counts.sum())
        assert found.low <= mean <= found.high


def test_a_constant_tensor_has_none() -> None:
    network, x = network_of("vgg"), samples(MAKERS["vgg"][1], 8)
    ranges = measure_ranges(network, x)
    ranges["input"] = (1.0, 1.0)
    assert "input" not in observe(network, x, ranges)
