"""The distance of cut networks from the full one."""

from __future__ import annotations

import numpy as np
import pytest
from networks import TOPOLOGIES, network_of

from secateur.graph import find_groups
from secateur.probing import Probe


@pytest.mark.parametrize("name", TOPOLOGIES)
def test_the_full_network_is_at_distance_zero_and_a_small_one_is_not(name: str) -> None:
    network = network_of(name)
    shape = next(iter(network.inputs.values()))[1:]
    inputs = np.random.default_rng(0).normal(size=(64, *shape)).astype(np.float32)
    groups = find_groups(network)
    probe = Probe(network, groups, inputs)
    smallest = {group.id: max(1, group.size // 8) for group in groups.groups}
    own = probe.distance(groups.full())
    assert own == pytest.approx(0, abs=1e-4)
    assert probe.distance(smallest) > max(1e-4, 10 * own)
