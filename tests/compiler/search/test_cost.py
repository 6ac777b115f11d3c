"""Costs by counting are those of the network that is really cut."""

from __future__ import annotations

import numpy as np
import pytest
from networks import TOPOLOGIES, board, network_of

from secateur.graph import find_groups
from secateur.graph.proof import random_keeps
from secateur.pruning import cut
from secateur.search import Costs, Roofline


@pytest.mark.parametrize("name", TOPOLOGIES)
def test_counts_are_those_of_the_cut_network(name: str) -> None:
    network = network_of(name)
    groups = find_groups(network)
    costs = Costs(network, groups)
    for keep in random_keeps(groups, 3):
        small = cut(network, groups, keep)
        assert costs.params(keep) == small.params
        macs = 0
        for node in small.nodes:
            if "weight" in node.attrs:
                out, weight = small.shapes[node.output], small.weights[node.attrs["weight"]]
                positions = out[2:] if node.op == "Conv" else out[1:-1]
                macs += weight.size * int(np.prod(positions, dtype=np.int64))
        assert costs.macs(keep) == macs


def test_estimates_fall_with_the_width() -> None:
    network = network_of("mobilenet")
    groups = find_groups(network)
    costs, model = Costs(network, groups), Roofline(board(), "int8")
    full, half = groups.full(), {group.id: group.size // 2 for group in groups.groups}
    assert 0 < model.latency_ms(costs, half) < model.latency_ms(costs, full)
    assert model.profile.memory.runtime_base_mb < model.memory_mb(costs, half) < model.memory_mb(costs, full)
    assert 0 < model.size_kb(costs, half) < model.size_kb(costs, full)
    assert Roofline(model.profile, "fp32").latency_ms(costs, full) > model.latency_ms(costs, full)
