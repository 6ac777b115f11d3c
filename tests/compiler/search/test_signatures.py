"""A signature and two widths say as much of an operator's work as the network does."""

from __future__ import annotations

import pytest
from tests.compiler.networks import TOPOLOGIES, network_of

from secateur.graph import find_groups
from secateur.graph.proof import random_keeps
from secateur.search import Costs
from secateur.search.measurement_points import operators_of, standard_operators


@pytest.mark.parametrize("name", TOPOLOGIES)
def test_its_work_is_that_of_the_operator(name: str) -> None:
    network = network_of(name)
    groups = find_groups(network)
    costs = Costs(network, groups)
    for keep in random_keeps(groups, 2):
        for cost in costs.of(keep):
            macs, weights, moved = cost.signature.work(cost.channels_in, cost.channels_out)
            if cost.signature.op in ("Conv", "Linear", "Add", "GlobalAveragePool", "MaxPool"):
                assert (macs, weights, moved) == (cost.macs, cost.weight_elements, cost.activation_elements)


def test_activations_belong_to_the_operator_before() -> None:
    groups = find_groups(network_of("mobilenet"))
    found = [str(cost.signature) for cost in Costs(network_of("mobilenet"), groups).of(groups.full())]
    assert found[0] == "dense Conv 3×3 at 16×16 stride 2×2 with Clip"
    assert "depthwise Conv 3×3 at 8×8 with Clip" in found
    assert "dense Conv 1×1 at 8×8" in found


@pytest.mark.parametrize("name", TOPOLOGIES)
def test_every_width_on_the_grid_that_a_small_network_can_have_is_timed(name: str) -> None:
    groups = find_groups(network_of(name))
    costs = Costs(network_of(name), groups)
    wanted = {(o.signature, o.channels_in, o.channels_out) for o in operators_of(costs, groups, 4)}
    for share in (0.25, 0.5, 1):
        keep = {g.id: max(4, int(g.size * share) // 4 * 4) for g in groups.groups}
        for cost in costs.of(keep):
            if cost.signature.op in ("Conv", "Add", "GlobalAveragePool"):
                assert (cost.signature, cost.channels_in, cost.channels_out) in wanted


def test_the_standard_set_covers_the_families_of_convolutional_networks() -> None:
    families = {o.signature.family for o in standard_operators(8)}
    for name in ("resnet-b", "mobilenet"):
        groups = find_groups(network_of(name))
        for cost in Costs(network_of(name), groups).of(groups.full()):
            assert cost.signature.family in families or cost.signature.kernel == (1, 1)
