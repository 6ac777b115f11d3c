"""Shared weights solved in closed form for all networks of a ladder."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from tests.compiler import digits
from tests.compiler.networks import MAKERS, TOPOLOGIES, network_of, normal_form, samples
from torch import Tensor, nn

from secateur.criteria import Evidence, score
from secateur.graph import find_groups
from secateur.ir import Groups, Network
from secateur.master import Master, subnetwork_of
from secateur.pruning import sort_groups
from secateur.tuning import Reconstruction, measure_statistics, reconstruct
from secateur.twin import fixed_values, run


def sorted_network(network: Network) -> tuple[Network, Groups]:
    groups = find_groups(network)
    return sort_groups(network, groups, score("magnitude-l2", Evidence(network, groups))), groups


def keep_of(groups: Groups, share: float) -> dict[str, int]:
    return {group.id: max(1, round(share * group.size)) for group in groups.groups}


def solve(network: Network, groups: Groups, shares: tuple[float, ...], x: NDArray[np.float32]) -> Reconstruction:
    statistics = measure_statistics(network, x)
    return reconstruct(network, [subnetwork_of(network, groups, keep_of(groups, share), statistics) for share in shares], x)


def solved_master(network: Network, groups: Groups, shares: tuple[float, ...], x: NDArray[np.float32]) -> Master:
    solved = solve(network, groups, shares, x)
    plain = measure_statistics(network, x)
    goals = [(keep_of(groups, share), {**plain, **found}) for share, found in zip(shares, solved.statistics)]
    return Master(network.with_values(weights=solved.weights), groups, {}, goals, x)


def outputs(network: Network, x: NDArray[np.float32]) -> NDArray[np.float32]:
    with torch.no_grad():
        found = run(network, {next(iter(network.inputs)): torch.from_numpy(x)}, fixed_values(network))
    return next(iter(found.values())).numpy()


@pytest.mark.parametrize("name", TOPOLOGIES)
def test_with_nothing_cut_the_weights_stay(name: str) -> None:
    network, groups = sorted_network(network_of(name))
    solved = solve(network, groups, (1.0,), samples(MAKERS[name][1], 64))
    for key, weight in network.weights.items():
        assert np.abs(solved.weights[key] - weight).max() <= 2e-3 * np.abs(weight).max(), key


@pytest.mark.parametrize("name", TOPOLOGIES)
def test_values_are_finite_and_no_sign_turns_however_little_is_kept(name: str) -> None:
    network, groups = sorted_network(network_of(name))
    solved = solve(network, groups, (1.0, 0.5, 0.01), samples(MAKERS[name][1], 8))
    assert all(np.isfinite(weight).all() for weight in solved.weights.values())
    assert len(solved.statistics) == 3
    for share, statistics in zip((1.0, 0.5, 0.01), solved.statistics):
        for name, found in statistics.items():
            assert np.isfinite(found.mean).all()
            kept = groups.kept((f"table:{name}", 0), network.tables[name].scale.size, keep_of(groups, share))
            assert (found.deviation * network.tables[name].scale[kept] >= 0).all()


def test_a_cut_network_follows_the_original_far_better_than_after_recalibration_alone() -> None:
    network, groups = sorted_network(digits.network())
    x_train, x_test, _, y_test = digits.arrays()
    plain = Master(network, groups, {}, [(groups.full(), measure_statistics(network, x_train[:200]))], x_train[:200])
    solved = solved_master(network, groups, (1.0, 0.5), x_train[:200])

    def accuracy(master: Master, share: float) -> float:
        return float((outputs(master.rung_network(keep_of(groups, share)), x_test).argmax(1) == y_test).mean())

    assert accuracy(solved, 0.5) > accuracy(plain, 0.5) + 0.1
    assert accuracy(solved, 1.0) > accuracy(plain, 1.0) - 0.01


def test_depthwise_weights_are_left_to_scale_and_shift() -> None:
    network, groups = sorted_network(network_of("mobilenet"))
    solved = solve(network, groups, (1.0, 0.5), samples(MAKERS["mobilenet"][1], 64))
    depthwise = [n.attrs["weight"] for n in network.nodes if n.op == "Conv" and n.attrs["groups"] > 1]
    dense = [n.attrs["weight"] for n in network.nodes if n.op == "Conv" and n.attrs["groups"] == 1]
    assert depthwise
    for name in depthwise:
        np.testing.assert_array_equal(solved.weights[name], network.weights[name])
    assert any(np.abs(solved.weights[name] - network.weights[name]).max() > 1e-3 for name in dense)


class PerPosition(nn.Module):
    """Scales positions, not channels, between two convolutions whose channels are cut."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv1d(3, 16, 3, 1, 1), nn.Conv1d(16, 4, 3, 1, 1)
        self.weights = nn.Parameter(torch.linspace(0.5, 1.5, 12).reshape(1, 1, 12))

    def forward(self, x: Tensor) -> Tensor:
        return self.second(F.relu(F.relu(self.first(x)) * self.weights))


def test_a_scale_along_another_axis_than_the_channels_that_are_cut_stays() -> None:
    torch.manual_seed(0)
    network, groups = sorted_network(normal_form(PerPosition(), (3, 12)))
    affine = next(node for node in network.nodes if node.op == "Affine" and node.attrs["axis"] == 2)
    x = samples((3, 12), 64)
    (found,) = solve(network, groups, (0.5,), x).statistics
    scale = network.tables[affine.attrs["table"]].scale
    ratio = found[affine.attrs["table"]].deviation / scale
    assert (ratio > 0).all()
    before = outputs(network, x)
    after = outputs(solved_master(network, groups, (1.0, 0.5), x).rung_network(keep_of(groups, 0.5)), x)
    assert np.corrcoef(before.ravel(), after.ravel())[0, 1] > 0.7
