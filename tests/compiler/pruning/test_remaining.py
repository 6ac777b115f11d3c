"""The network of some channels only is what sorting and cutting would give, with groups that fit it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tests.compiler.networks import TOPOLOGIES, network_of

from secateur.graph import find_groups
from secateur.pruning import cut, remaining, shrink_groups, sort_groups
from secateur.twin import fixed_values, run


def outputs_of(network):  # type: ignore[no-untyped-def]
    (name, shape) = next(iter(network.inputs.items()))
    x = torch.randn((3, *shape[1:]), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return next(iter(run(network, {name: x}, fixed_values(network, torch.float64)).values()))


@pytest.mark.parametrize("name", TOPOLOGIES)
def test_groups_of_a_cut_network_are_those_that_would_be_found_in_it(name: str) -> None:
    network = network_of(name)
    groups = find_groups(network)
    keep = {group.id: max(2, group.size // 2) for group in groups.groups}
    small = cut(network, groups, keep)
    mine, found = shrink_groups(network, groups, keep), find_groups(small)
    assert sorted(group.size for group in mine.groups) == sorted(group.size for group in found.groups)
    by_axes = {frozenset(group.members): group for group in found.groups}
    for group in mine.groups:
        other = by_axes[frozenset(group.members)]
        for axis, members in group.members.items():
            assert sorted(map(tuple, members)) == sorted(map(tuple, other.members[axis]))


@pytest.mark.parametrize("name", TOPOLOGIES)
def test_any_channels_can_remain(name: str) -> None:
    network = network_of(name)
    groups = find_groups(network)
    rng = np.random.default_rng(0)
    alive = {group.id: rng.random(group.size) < 0.6 for group in groups.groups}
    for mask in alive.values():
        mask[-1] = True
    small, inside, tables = remaining(network, groups, alive)
    assert {group.id: group.size for group in inside.groups} == {key: int(mask.sum()) for key, mask in alive.items()}
    for key, index in tables.items():
        np.testing.assert_array_equal(small.tables[key].scale, network.tables[key].scale[index])
        np.testing.assert_array_equal(small.tables[key].shift, network.tables[key].shift[index])
    # Sorting the small network does not change what it computes: its groups are right.
    shuffled = sort_groups(small, inside, {group.id: rng.normal(size=group.size) for group in inside.groups})
    torch.testing.assert_close(outputs_of(shuffled), outputs_of(small))


def test_all_channels_are_the_network_itself() -> None:
    network = network_of("resnet-b")
    groups = find_groups(network)
    small, _, _ = remaining(network, groups, {group.id: np.ones(group.size, bool) for group in groups.groups})
    torch.testing.assert_close(outputs_of(small), outputs_of(network))
