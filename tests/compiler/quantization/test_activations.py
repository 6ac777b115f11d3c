"""Quantization parameters of activations cover what calibration saw."""

from __future__ import annotations

import numpy as np
import pytest
from networks import MAKERS, TOPOLOGIES, network_of, samples
from rungs import twin_outputs

from secateur.quantization import measure_ranges, parameters


@pytest.mark.parametrize("name", TOPOLOGIES)
def test_ranges_are_those_of_all_batches(name: str) -> None:
    network, x = network_of(name), samples(MAKERS[name][1], 300)
    ranges = measure_ranges(network, x)
    assert set(ranges) == set(network.shapes)
    outputs = twin_outputs(network, x)
    low, high = ranges[next(iter(network.outputs))]
    np.testing.assert_allclose([low, high], [outputs.min(), outputs.max()], rtol=1e-5)


@pytest.mark.parametrize("name", TOPOLOGIES)
def test_zero_and_the_extremes_can_be_written(name: str) -> None:
    network = network_of(name)
    ranges = measure_ranges(network, samples(MAKERS[name][1], 64))
    for tensor, found in parameters(network, ranges).items():
        low, high = ranges[tensor]
        assert found.scale > 0
        assert -128 <= found.zero_point <= 127
        assert found.scale * (-128 - found.zero_point) <= low + found.scale
        assert found.scale * (127 - found.zero_point) >= high - found.scale


def test_operators_that_move_values_keep_their_inputs_parameters() -> None:
    network = network_of("vgg")
    found = parameters(network, measure_ranges(network, samples(MAKERS["vgg"][1], 64)))
    moved = [node for node in network.nodes if node.op in ("MaxPool", "Flatten")]
    assert len(moved) == 3
    assert all(found[node.output] == found[node.inputs[0]] for node in moved)
