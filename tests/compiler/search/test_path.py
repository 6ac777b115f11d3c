"""The shrink path: nested, ever faster, on the grid."""

from __future__ import annotations

from functools import partial
from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.compiler.networks import TOPOLOGIES, board, network_of

from secateur.criteria import Evidence, score
from secateur.graph import find_groups
from secateur.ir import Groups, Network
from secateur.search import Costs, Roofline, importance_losses, shrink_path


def losses_of(network: Network, groups: Groups) -> dict[str, NDArray[np.float64]]:
    return importance_losses(groups, score("magnitude-l2", Evidence(network, groups)))


@pytest.mark.parametrize("name", TOPOLOGIES)
@pytest.mark.parametrize("precision", ["int8", "fp32"])
def test_points_are_nested_faster_and_on_the_grid(name: str, precision: str) -> None:
    network = network_of(name)
    groups = find_groups(network)
    costs = Costs(network, groups)
    model = Roofline(board(), precision)
    path = shrink_path(groups, losses_of(network, groups), partial(model.latency_ms, costs), 4)
    assert path[0].keep == groups.full()
    assert len(path) > 1
    for before, after in pairwise(path):
        assert after.latency_ms < before.latency_ms
        assert all(after.keep[key] <= count for key, count in before.keep.items())
        assert sum(after.keep[key] < count for key, count in before.keep.items()) == 1
        assert costs.params(after.keep) < costs.params(before.keep)
    for group in groups.groups:
        counts = {step.keep[group.id] for step in path}
        assert all(count == group.size or count % 4 == 0 for count in counts)
        assert min(counts) >= group.size / 8
    assert path[-1].latency_ms == pytest.approx(model.latency_ms(costs, path[-1].keep))


def test_a_step_that_pays_only_further_on_is_taken_through_all_points_on_the_way() -> None:
    network = network_of("mlp")
    groups = find_groups(network)
    # Cutting g0 a little costs much and then nothing more; g1 costs evenly, and more in all.
    losses = {"g0": np.where(np.arange(25) < 24, 1.0, 0.0), "g1": np.linspace(4.0, 0.0, 17)}
    path = shrink_path(groups, losses, lambda keep: float(sum(keep.values())), 4)
    assert [step.keep for step in path[1:6]] == [{"g0": k, "g1": 16} for k in (20, 16, 12, 8, 4)]


def test_the_least_important_group_goes_first() -> None:
    network = network_of("mlp")
    groups = find_groups(network)
    scores = {group.id: score("magnitude-l2", Evidence(network, groups))[group.id] for group in groups.groups}
    scores["g0"][:] = 1.0
    scores["g1"][:8], scores["g1"][8:] = 1.0, 1e-6
    path = shrink_path(groups, importance_losses(groups, scores), lambda keep: float(sum(keep.values())), 8)
    assert path[1].keep == {"g0": 24, "g1": 8}


def test_groups_narrower_than_the_grid_are_halved() -> None:
    network = network_of("mlp")
    groups = find_groups(network)
    path = shrink_path(groups, losses_of(network, groups), lambda keep: float(sum(keep.values())), 32)
    assert {step.keep["g0"] for step in path} == {24, 12}


def test_blocks_are_dropped_only_if_they_have_a_loss_and_the_cheapest_goes_first() -> None:
    network = network_of("preactivation")
    groups = find_groups(network)
    costs = Costs(network, groups)
    latency, channels = partial(Roofline(board(), "int8").latency_ms, costs), losses_of(network, groups)
    whole = shrink_path(groups, channels, latency, 4)
    assert all(groups.dropped(step.keep) == () for step in whole)
    loss = {"b0": np.array([3.0, 0.0]), "b1": np.array([1e-6, 0.0])}
    path = shrink_path(groups, channels | loss, latency, 4)
    assert groups.dropped(path[1].keep) == ("b1",)
    assert groups.dropped(path[-1].keep) == ("b0", "b1")
    assert next(i for i, step in enumerate(path) if "b0" in groups.dropped(step.keep)) > 3
    for before, after in pairwise(path):
        assert after.latency_ms < before.latency_ms
        assert all(after.keep[key] <= count for key, count in before.keep.items())
    # What was inside a dropped block saves nothing any more, so that no step is spent on it.
    inner = next(group.id for group in groups.groups if group.source == "blocks.1.conv1")
    assert {step.keep[inner] for step in path} == {8}


def test_a_path_passes_through_the_networks_that_it_is_told() -> None:
    network = network_of("mlp")
    groups = find_groups(network)
    losses = {"g0": np.linspace(1.0, 0.0, 25), "g1": np.linspace(9.0, 0.0, 17)}
    stops = [{"g0": 20, "g1": 12}, {"g0": 20, "g1": 4}]
    path = shrink_path(groups, losses, lambda keep: float(sum(keep.values())), 4, through=stops)
    keeps = [step.keep for step in path]
    assert [keep for keep in keeps if keep in stops] == stops
    for before, after in pairwise(path):
        assert after.latency_ms < before.latency_ms
        assert all(after.keep[key] <= count for key, count in before.keep.items())
    assert keeps[-1] == {"g0": 4, "g1": 4}
