"""A network between two tuned rungs has a mixture of their private values."""

from __future__ import annotations

import networks
import numpy as np
import pytest
import torch

from secateur.graph import find_groups
from secateur.ir import Groups, Network
from secateur.master import mixture_for
from secateur.tuning import Mixture


@pytest.fixture(scope="module")
def parts() -> tuple[Network, Groups]:
    network = networks.network_of("smartwatch")
    return network, find_groups(network)


def at(groups: Groups, share: float) -> dict[str, int]:
    return {group.id: round(group.size * share) for group in groups.groups}


def test_a_tuned_network_takes_its_own_values(parts: tuple[Network, Groups]) -> None:
    network, groups = parts
    tuned = [at(groups, 1.0), at(groups, 0.5), at(groups, 0.25)]
    mixture = mixture_for(groups, network, tuned, tuned[1])
    assert (mixture.larger, mixture.smaller, mixture.share) == (1, None, 0.0)


def test_one_in_between_is_drawn_towards_the_smaller_by_how_far_it_is_on_the_way(parts: tuple[Network, Groups]) -> None:
    network, groups = parts
    mixture = mixture_for(groups, network, [at(groups, 1.0), at(groups, 0.5)], at(groups, 0.75))
    assert (mixture.larger, mixture.smaller, mixture.share) == (0, 1, pytest.approx(0.5))
    table = next(name for name, index in mixture.in_smaller.items() if 0 < len(index) < len(mixture.of_larger[name]))
    kept, half = len(mixture.of_larger[table]), len(mixture.in_smaller[table])
    mixed = mixture.mix(table, torch.ones(network.tables[table].scale.size), torch.full((half,), 3.0))
    assert mixed.shape == (kept,)
    np.testing.assert_allclose(np.sort(mixed.numpy()), [1.0] * (kept - half) + [2.0] * half)


def test_below_the_smallest_the_values_are_those_of_the_smallest(parts: tuple[Network, Groups]) -> None:
    network, groups = parts
    mixture = mixture_for(groups, network, [at(groups, 1.0), at(groups, 0.5)], at(groups, 0.25))
    assert (mixture.larger, mixture.smaller) == (1, None)


def test_gradients_reach_both_neighbours() -> None:
    mixture = Mixture(0, {"t": np.arange(2)}, 1, {"t": np.arange(1)}, 0.25)
    larger, smaller = torch.ones(3, requires_grad=True), torch.ones(1, requires_grad=True)
    mixture.mix("t", larger, smaller).sum().backward()
    assert larger.grad is not None
    assert smaller.grad is not None
    np.testing.assert_allclose(larger.grad.numpy(), [0.75, 1.0, 0.0])
    np.testing.assert_allclose(smaller.grad.numpy(), [0.25])
