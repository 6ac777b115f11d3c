"""Quantization parameters of activations cover what calibration saw."""

from __future__ import annotations

import pytest
from tests.compiler.networks import MAKERS, TOPOLOGIES, network_of, samples

from secateur.quantization import measure_ranges, parameters


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


@pytest.mark.parametrize("name", TOPOLOGIES)
def test_around_zero_the_larger_end_decides(name: str) -> None:
    network = network_of(name)
    ranges = measure_ranges(network, samples(MAKERS[name][1], 64))
    found = parameters(network, ranges, symmetric=True)
    assert {each.zero_point for each in found.values()} == {0}
    low, high = ranges["input"]
    assert found["input"].scale == pytest.approx(max(-low, high) / 127)
