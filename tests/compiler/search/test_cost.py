"""Costs by counting are those of the network that is really cut."""

from __future__ import annotations

import numpy as np
import pytest
from tests.compiler.networks import TOPOLOGIES, board, network_of

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


@pytest.mark.parametrize("name", ["resnet-a", "mobilenet", "preactivation"])
def test_a_dropped_block_costs_nothing(name: str) -> None:
    network = network_of(name)
    groups = find_groups(network)
    costs, model = Costs(network, groups), Roofline(board(), "int8")
    for block in groups.blocks:
        keep = {**groups.full(), block.id: 0}
        small = cut(network, groups, keep)
        alone = Costs(small, find_groups(small))
        full = alone._groups.full()
        assert costs.of(keep) == alone.of(full)
        assert costs.params(keep) == alone.params(full) < costs.params(groups.full())
        assert costs.nodes(keep) == len(small.nodes)
        assert costs.peak_activation_elements(keep) == alone.peak_activation_elements(full)
        assert model.latency_ms(costs, keep) < model.latency_ms(costs, groups.full())
        assert model.size_kb(costs, keep) == pytest.approx(model.size_kb(alone, full))


@pytest.mark.parametrize("name", ["resnet-a", "mobilenet"])
def test_a_total_is_the_sum_over_operators_whatever_was_asked_before(name: str) -> None:
    network = network_of(name)
    groups = find_groups(network)
    costs, models = Costs(network, groups), [Roofline(board(), precision) for precision in ("int8", "fp32")]
    keeps = random_keeps(groups, 4)
    keeps += [{**keep, groups.blocks[0].id: 0} for keep in keeps]
    for keep in [*keeps, *keeps]:
        for model in models:
            assert costs.total(keep, model.operator_ms) == pytest.approx(sum(map(model.operator_ms, costs.of(keep))))
        assert costs.macs(keep) == sum(cost.macs for cost in Costs(network, groups).of(keep))
