"""A network between two tuned rungs has a mixture of their private values."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tests.compiler import digits, networks, rungs

from secateur.criteria import Evidence, score
from secateur.graph import find_groups
from secateur.ir import Groups, Network
from secateur.master import mixture_for, tune_master
from secateur.pruning import cut, sort_groups
from secateur.search import Costs, Roofline, Step
from secateur.search.planner import plan_rung
from secateur.tuning import Mixture, SandwichSettings


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


def test_where_the_smaller_network_lacks_a_block_the_values_are_the_larger_ones() -> None:
    network = networks.network_of("preactivation")
    groups = find_groups(network)
    full, half = groups.full(), {**groups.full(), **at(groups, 0.5), "b1": 0}
    keep = {**groups.full(), **at(groups, 0.75)}
    mixture = mixture_for(groups, network, [full, half], keep)
    assert (mixture.larger, mixture.smaller) == (0, 1)
    inside = {node.attrs["table"] for node in network.nodes if node.output in groups.blocks[1].nodes and node.op == "Affine"}
    assert set(mixture.of_larger) == set(network.tables)
    assert set(mixture.in_smaller) == set(network.tables) - inside
    for table in inside:
        kept = len(mixture.of_larger[table])
        larger = torch.arange(network.tables[table].scale.size, dtype=torch.float32)
        mixed = mixture.mix(table, larger, torch.zeros(kept))
        np.testing.assert_array_equal(mixed.numpy(), larger.numpy()[mixture.of_larger[table]])


def test_a_network_without_a_block_takes_values_only_for_the_tables_that_it_has() -> None:
    network = networks.network_of("preactivation")
    groups = find_groups(network)
    full, half = groups.full(), {**groups.full(), **at(groups, 0.5), "b1": 0}
    keep = {**groups.full(), "b1": 0}
    mixture = mixture_for(groups, network, [full, half], keep)
    assert (mixture.larger, mixture.smaller) == (0, 1)
    assert set(mixture.of_larger) == set(mixture.in_smaller) == set(cut(network, groups, keep).tables)
    without = mixture_for(groups, network, [full, keep, half], full)
    assert (without.larger, without.smaller) == (0, None)


def test_a_network_with_a_block_is_not_covered_by_one_without() -> None:
    network = networks.network_of("preactivation")
    groups = find_groups(network)
    tuned = [groups.full(), {**groups.full(), "b0": 0}]
    assert mixture_for(groups, network, tuned, {**at(groups, 0.5), "b0": 1}).larger == 0
    assert mixture_for(groups, network, tuned, at(groups, 0.5)).larger == 0
    assert mixture_for(groups, network, tuned, {**at(groups, 0.5), "b0": 0}).larger == 1


def test_the_index_of_a_network_without_a_block_has_only_its_own_weights() -> None:
    master = rungs.master_of("preactivation")
    keep = {**master.groups.full(), "b0": 0}
    assert set(master.index(keep)) == set(cut(master.network, master.groups, keep).weights)
    assert set(master.base("int8")) == set(master.network.weights)
    assert set(master.index(master.groups.full())) == set(master.network.weights)


def test_tuning_with_blocks_gone_trains_every_weight_and_gives_each_rung_its_own_tables() -> None:
    network = digits.residual_network()
    groups = find_groups(network)
    costs = Costs(network, groups)
    model = Roofline(networks.board(), "fp32")
    keeps = [
        groups.full(),
        {**groups.full(), **at(groups, 0.75)},
        {**groups.full(), **at(groups, 0.75), "b2": 0},
        {**groups.full(), **at(groups, 0.5), "b2": 0},
        {**groups.full(), **at(groups, 0.5), "b1": 0, "b2": 0},
    ]
    path = [Step(keep, model.latency_ms(costs, keep)) for keep in keeps]
    plans = [plan_rung(path[index], costs, model) for index in (0, 2, 4)]
    scores = score("magnitude-l2", Evidence(network, groups))
    ordered = sort_groups(network, groups, scores)
    settings = SandwichSettings(steps=4)
    master = tune_master(ordered, groups, scores, [plans], path, digits.task(), settings, lambda step, loss: None)
    assert [keep for keep, _ in master.goals] == [keeps[0], keeps[2], keeps[4]]
    for keep, goals in master.goals:
        assert set(goals) == set(cut(network, groups, keep).tables)
    for name, weight in ordered.weights.items():
        assert not np.array_equal(master.network.weights[name], weight)
    x = digits.task().inputs("validation")
    for keep in keeps:
        small = master.rung_network(keep)
        assert np.isfinite(rungs.twin_outputs(small, x)).all()
        assert set(small.tables) == set(cut(network, groups, keep).tables)
        # As manifests have it: a block that is not named is kept, and the rung is the same.
        unnamed = {key: count for key, count in keep.items() if not (key.startswith("b") and count)}
        for name, table in master.rung_network(unnamed).tables.items():
            np.testing.assert_array_equal(table.scale, small.tables[name].scale)
            np.testing.assert_array_equal(table.shift, small.tables[name].shift)
