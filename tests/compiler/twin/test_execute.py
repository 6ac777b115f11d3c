"""The twin gives tensors in the order asked for, and lets callers look at and replace them."""

from __future__ import annotations

import pytest
import torch
from tests.compiler.networks import MAKERS, TOPOLOGIES, network_of, samples

from secateur.twin import fixed_values, run, shapes_of


@pytest.mark.parametrize("name", TOPOLOGIES)
def test_shapes_are_those_of_values(name: str) -> None:
    network = network_of(name)
    x = torch.from_numpy(samples(MAKERS[name][1], 3))
    values = run(network, {next(iter(network.inputs)): x}, fixed_values(network), wanted=network.shapes)
    assert {key: (-1, *value.shape[1:]) for key, value in values.items()} == shapes_of(network) == network.shapes


def test_tensors_come_in_the_order_asked_for() -> None:
    network = network_of("mobilenet")
    feeds = {next(iter(network.inputs)): torch.zeros((1, *MAKERS["mobilenet"][1]))}
    for names in (list(network.shapes), list(network.shapes)[::-1]):
        assert list(run(network, feeds, fixed_values(network), wanted=names)) == names


def test_a_callback_replaces_a_tensor() -> None:
    network = network_of("mlp")
    (name,) = network.inputs
    x = torch.ones((2, 10))
    expected = run(network, {name: 2 * x}, fixed_values(network))
    got = run(network, {name: x}, fixed_values(network), on_tensor=lambda key, value: 2 * value if key == name else None)
    for key, value in expected.items():
        torch.testing.assert_close(got[key], value)


def test_double_precision_is_available() -> None:
    network = network_of("mlp")
    x = torch.zeros((1, 10), dtype=torch.float64)
    assert next(iter(run(network, {"input": x}, fixed_values(network, torch.float64)).values())).dtype == torch.float64
