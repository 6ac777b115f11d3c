"""Recalibration gives a cut network's channels the mean and deviation that they had."""

from __future__ import annotations

from importlib import import_module

import numpy as np
import pytest
import torch
from tests.compiler import digits
from tests.compiler.networks import MAKERS, TOPOLOGIES, network_of, samples

from secateur.criteria import Evidence, score
from secateur.graph import find_groups
from secateur.ir import Groups, Network, Table
from secateur.load.task import accuracy
from secateur.master import subnetwork_of
from secateur.pruning import cut, sort_groups
from secateur.tuning import (
    SandwichSettings,
    Statistics,
    distil,
    fold_statistics,
    measure_statistics,
    recalibrate,
    recalibrated_outputs,
)
from secateur.twin import fixed_values, run


def restricted(groups: Groups, statistics: dict[str, Statistics], keep: dict[str, int]) -> dict[str, Statistics]:
    found = {}
    for name, value in statistics.items():
        kept = groups.kept((f"table:{name}", 0), len(value.mean), keep)
        found[name] = Statistics(value.mean[kept], value.deviation[kept])
    return found


def accuracy_of(network: Network) -> float:
    with torch.no_grad():
        outputs = run(network, {"input": torch.from_numpy(digits.task().inputs("test"))}, fixed_values(network))
    return accuracy(next(iter(outputs.values())).numpy(), digits.task().targets("test"))


@pytest.mark.parametrize("name", TOPOLOGIES)
def test_every_channel_regains_its_mean_and_deviation(name: str) -> None:
    network, x = network_of(name), samples(MAKERS[name][1], 200)
    groups = find_groups(network)
    keep = {group.id: group.size // 2 for group in groups.groups}
    goals = restricted(groups, measure_statistics(network, x), keep)
    small = cut(network, groups, keep)
    tables = recalibrate(small, goals, x)
    got = measure_statistics(small.with_values(tables=tables), x)
    output = next(node.attrs.get("table") for node in network.nodes if node.output in network.outputs)
    for table, goal in goals.items():
        if table == output:
            np.testing.assert_array_equal(tables[table].scale, small.tables[table].scale)
            continue
        np.testing.assert_allclose(got[table].mean, goal.mean, atol=2e-4)
        np.testing.assert_allclose(got[table].deviation, goal.deviation, rtol=1e-3, atol=2e-4)
        assert ((tables[table].scale < 0) == (small.tables[table].scale < 0)).all(), "a sign belongs to all rungs"


@pytest.mark.parametrize("name", ["resnet-b", "mixed"])
def test_samples_are_normalised_together_however_few_run_at_once(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    network, x = network_of(name), samples(MAKERS[name][1], 60)
    groups = find_groups(network)
    keep = {group.id: group.size // 2 for group in groups.groups}
    small = cut(network, groups, keep)
    goals = restricted(groups, measure_statistics(network, x), keep)
    tables, outputs = recalibrate(small, goals, x), recalibrated_outputs(small, goals, x)
    monkeypatch.setattr(import_module("secateur.twin.feeds"), "ELEMENTS", 1 << 14)
    for table, value in recalibrate(small, goals, x).items():
        np.testing.assert_allclose(value.scale, tables[table].scale, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(value.shift, tables[table].shift, rtol=1e-4, atol=1e-5)
    for name, value in recalibrated_outputs(small, goals, x).items():
        np.testing.assert_allclose(value, outputs[name], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", ["resnet-b", "preactivation", "mixed"])
def test_the_full_network_stays_what_it_is(name: str) -> None:
    """Also where a batch norm with negative scales follows no weight that could have their signs."""
    network, x = network_of(name), samples(MAKERS[name][1], 100)
    for name, table in recalibrate(network, measure_statistics(network, x), x).items():
        np.testing.assert_allclose(table.scale, network.tables[name].scale, rtol=1e-3, atol=1e-5)
        np.testing.assert_allclose(table.shift, network.tables[name].shift, rtol=1e-3, atol=1e-4)


def test_a_tiny_cut_collapses_unless_recalibrated() -> None:
    """Torch-Pruning#347: "accuracy collapses at a tiny ratio"; batch-norm statistics of the full network no longer hold."""
    network = digits.network()
    groups = find_groups(network)
    network = sort_groups(network, groups, score("magnitude-l2", Evidence(network, groups)))
    full = accuracy_of(network)
    x = digits.task().inputs("calibration")
    statistics = measure_statistics(network, x)
    keep = {group.id: round(0.75 * group.size) for group in groups.groups}
    small = cut(network, groups, keep)
    recalibrated = small.with_values(tables=recalibrate(small, restricted(groups, statistics, keep), x))
    assert full > 0.9
    assert accuracy_of(small) < full - 0.1
    assert accuracy_of(recalibrated) > accuracy_of(small) + 0.5 * (full - accuracy_of(small))


def test_a_dead_channel_stays_finite() -> None:
    network, x = network_of("mlp"), samples((10,), 50)
    weights = {**network.weights, "w0": network.weights["w0"].copy()}
    weights["w0"][3] = 0
    dead = network.with_values(weights=weights)
    goals = measure_statistics(dead, x)
    for table in recalibrate(dead, goals, x).values():
        assert np.isfinite(table.scale).all()
        assert np.isfinite(table.shift).all()


def test_gains_and_offsets_become_scales_and_shifts() -> None:
    network, x = network_of("mlp"), samples((10,), 100)
    goals = {
        name: Table(np.full(table.scale.size, 0.5, np.float32), np.full(table.scale.size, 0.25, np.float32))
        for name, table in network.tables.items()
    }
    folded = network.with_values(tables=fold_statistics(network, goals, x))
    statistics = measure_statistics(folded, x)
    for name in ("t0", "t1"):
        np.testing.assert_allclose(statistics[name].mean, 0.25, atol=1e-4)
        np.testing.assert_allclose(statistics[name].deviation, 0.5, rtol=1e-3)
    np.testing.assert_array_equal(folded.tables["t2"].scale, 0.5)


@pytest.mark.parametrize("name", TOPOLOGIES)
def test_a_network_recalibrated_to_its_own_statistics_stays_what_it_is(name: str) -> None:
    """Also where a batch norm with negative scales stands behind an addition, so that no weight can take the signs over."""
    network, x = network_of(name), samples(MAKERS[name][1], 128)
    tables = recalibrate(network, measure_statistics(network, x), x)
    for key, table in network.tables.items():
        np.testing.assert_allclose(tables[key].scale, table.scale, rtol=1e-3, atol=1e-4)


def test_tuning_keeps_the_signs_of_scales_behind_an_addition() -> None:
    network, x = network_of("mixed"), samples(MAKERS["mixed"][1], 128)
    groups = find_groups(network)
    start = subnetwork_of(network, groups, groups.full(), measure_statistics(network, x))
    _, (tables,) = distil(network, [start], x, SandwichSettings(steps=1, batch=128, learning_rate=1e-9))
    folded = fold_statistics(network, tables, x)
    assert any((table.scale < 0).any() for table in network.tables.values())
    for key, table in network.tables.items():
        np.testing.assert_allclose(folded[key].scale, table.scale, rtol=1e-3, atol=1e-3)
