"""Sandwich distillation makes subnetworks of shared weights follow the original."""

from __future__ import annotations

import digits
import numpy as np
import pytest
import torch
from networks import network_of, samples

from secateur.criteria import score
from secateur.graph import find_groups
from secateur.ir import Network, SecateurError
from secateur.load.task import agreement
from secateur.master import tune_master
from secateur.pruning import sort_groups
from secateur.search import Costs
from secateur.search.planner import Plan
from secateur.tuning import SandwichSettings, distil
from secateur.twin import fixed_values, run


def outputs_of(network: Network) -> np.ndarray:
    with torch.no_grad():
        found = run(network, {"input": torch.from_numpy(digits.task().inputs("validation"))}, fixed_values(network))
    return next(iter(found.values())).numpy()


def ladder(network: Network, shares: tuple[float, ...]) -> list[Plan]:
    groups = find_groups(network)
    costs = Costs(network, groups)
    plans = []
    for share in shares:
        keep = {group.id: round(share * group.size) for group in groups.groups}
        plans.append(Plan(keep, share, 1.0, 1.0, 1.0, costs.macs(keep), costs.params(keep)))
    return plans


def test_small_networks_agree_more_with_the_original_and_the_full_one_still_does() -> None:
    network = digits.network()
    groups = find_groups(network)
    network = sort_groups(network, groups, score("magnitude-l2", network, groups))
    scores = score("magnitude-l2", network, groups)
    plans = ladder(network, (1.0, 0.5, 0.25))
    original = outputs_of(network)
    losses: list[float] = []

    def shares(steps: int) -> list[float]:
        settings = SandwichSettings(steps=steps, batch=64)
        master = tune_master(network, groups, scores, [plans], digits.task(), settings, lambda _, loss: losses.append(loss))
        return [agreement(outputs_of(master.rung_network(plan.keep)), original) for plan in plans]

    before, after = shares(0), shares(60)
    assert before[0] == 1.0
    assert before[1] > 0.3, "recalibration alone keeps a part, and must not touch the output's scales"
    assert after[0] > 0.95
    assert after[1] > before[1] + 0.05
    assert after[2] > before[2] + 0.1
    assert np.mean(losses[-10:]) < 0.5 * np.mean(losses[:5])


def test_widths_between_tuned_ones_work_after_recalibration_alone() -> None:
    network = digits.network()
    groups = find_groups(network)
    network = sort_groups(network, groups, score("magnitude-l2", network, groups))
    plans = ladder(network, (1.0, 0.5))
    scores = score("magnitude-l2", network, groups)
    master = tune_master(network, groups, scores, [plans], digits.task(), SandwichSettings(steps=60, batch=64), lambda *_: None)
    between = ladder(network, (0.75,))[0]
    assert agreement(outputs_of(master.rung_network(between.keep)), outputs_of(network)) > 0.8


def subnetwork_results(seed: int, steps: int = 4):  # type: ignore[no-untyped-def]
    network = network_of("mlp")
    groups = find_groups(network)
    from secateur.pruning import cut
    from secateur.tuning import Subnetwork, measure_statistics

    x = samples((10,), 80)
    statistics = measure_statistics(network, x)
    subnetworks = []
    for share in (1.0, 0.5):
        keep = {group.id: round(share * group.size) for group in groups.groups}
        index = {
            name: tuple(groups.kept((f"weight:{name}", axis), weight.shape[axis], keep) for axis in (0, 1))
            for name, weight in network.weights.items()
        }
        goals = {
            name: type(goal)(*(v[groups.kept((f"table:{name}", 0), len(v), keep)] for v in (goal.mean, goal.deviation)))
            for name, goal in statistics.items()
        }
        subnetworks.append(Subnetwork(cut(network, groups, keep), index, goals))
    return distil(network, subnetworks, x, SandwichSettings(steps=steps, batch=16, learning_rate=0.5, seed=seed))


def test_the_same_seed_gives_the_same_weights_and_another_seed_others() -> None:
    first, again, other = subnetwork_results(0), subnetwork_results(0), subnetwork_results(1)
    for name in first[0]:
        np.testing.assert_array_equal(first[0][name], again[0][name])
    for tables, repeated in zip(first[1], again[1]):
        for name in tables:
            np.testing.assert_array_equal(tables[name].scale, repeated[name].scale)
    assert any((first[0][name] != other[0][name]).any() for name in first[0])


def test_gains_are_never_negative() -> None:
    _, tables = subnetwork_results(0, steps=12)
    assert all((table.scale >= 0).all() for private in tables for table in private.values())


def test_one_training_sample_is_refused_in_one_line() -> None:
    network = network_of("mlp")
    with pytest.raises(SecateurError, match="at least two training samples"):
        distil(network, [], samples((10,), 1), SandwichSettings(steps=1))
