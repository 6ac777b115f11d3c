"""Sorting puts important channels first and changes nothing else."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tests.compiler.networks import TOPOLOGIES, network_of

from secateur.criteria import Evidence, score
from secateur.graph import find_groups
from secateur.ir import Network
from secateur.pruning import sort_groups
from secateur.twin import fixed_values, run


def outputs_of(network: Network, seed: int = 0) -> torch.Tensor:
    (name, shape) = next(iter(network.inputs.items()))
    x = torch.randn((3, *shape[1:]), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return next(iter(run(network, {name: x}, fixed_values(network, torch.float64)).values()))


@pytest.mark.parametrize("name", TOPOLOGIES)
@pytest.mark.parametrize("folded", [False, True])
def test_the_function_does_not_change(name: str, folded: bool) -> None:
    network = network_of(name, folded)
    groups = find_groups(network)
    rng = np.random.default_rng(1)
    for _ in range(2):
        shuffled = sort_groups(network, groups, {group.id: rng.normal(size=group.size) for group in groups.groups})
        assert any((shuffled.weights[key] != network.weights[key]).any() for key in network.weights)
        expected = outputs_of(network)
        assert float((outputs_of(shuffled) - expected).abs().max()) <= 1e-9 * float(expected.abs().max())


@pytest.mark.parametrize("name", TOPOLOGIES)
def test_scores_descend_afterwards(name: str) -> None:
    network = network_of(name)
    groups = find_groups(network)
    ordered = sort_groups(network, groups, score("magnitude-l2", Evidence(network, groups)))
    for values in score("magnitude-l2", Evidence(ordered, groups)).values():
        assert (np.diff(values) <= 1e-12).all()
