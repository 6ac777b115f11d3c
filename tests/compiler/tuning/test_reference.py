"""The full network is run as far as it is asked to, and what was compared is forgotten."""

from __future__ import annotations

import pytest
import torch
from tests.compiler.networks import MAKERS, TOPOLOGIES, network_of, samples

from secateur.tuning.reference import Reference
from secateur.twin import feeds, fixed_values, run, split


@pytest.mark.parametrize("name", TOPOLOGIES)
def test_every_tensor_can_be_asked_for_in_order_and_few_are_kept(name: str) -> None:
    network = network_of(name)
    x = samples(MAKERS[name][1], 6)
    with torch.no_grad():
        expected = run(network, feeds(network, x), fixed_values(network), wanted=network.shapes)
        parts = [feeds(network, part) for part in split(network, x, 1 << 22, 2)]
        reference = Reference(network, parts)
        most = 0
        for node in network.nodes:
            for value, whole in zip(reference.of(node.output), expected[node.output].split(2)):
                torch.testing.assert_close(value, whole, rtol=1e-4, atol=1e-4)
            reference.forget(node.output)
            most = max(most, len(reference._live[0]))
    assert most < len(network.nodes) / 2
