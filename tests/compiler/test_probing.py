"""The distance of cut networks from the full one."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tests.compiler.networks import MAKERS, TOPOLOGIES, network_of, samples

from secateur.dropping import cut_statistics
from secateur.graph import find_groups
from secateur.probing import Probe
from secateur.pruning import cut
from secateur.tuning import measure_statistics, recalibrate, recalibrated_outputs
from secateur.twin import feeds, fixed_values, run


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


@pytest.mark.parametrize("name", ["resnet-b", "mobilenet", "mixed"])
def test_one_pass_gives_what_recalibrating_and_running_give(name: str) -> None:
    network = network_of(name)
    groups = find_groups(network)
    keep = {**groups.full(), **{group.id: max(1, group.size // 2) for group in groups.groups}}
    small, x = cut(network, groups, keep), samples(MAKERS[name][1], 40)
    goals = cut_statistics(groups, keep, measure_statistics(network, x))
    goals = {table: goals[table] for table in small.tables}
    with torch.no_grad():
        recalibrated = small.with_values(tables=recalibrate(small, goals, x))
        twice = run(recalibrated, feeds(small, x), fixed_values(recalibrated))
    once = recalibrated_outputs(small, goals, x)
    for key, value in twice.items():
        torch.testing.assert_close(once[key], value, rtol=1e-3, atol=1e-4)
