"""Repair fits what is behind a gap to the full network, and to what is missing from its residual streams."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tests.compiler import digits, networks

from secateur.graph import find_groups
from secateur.ir import Network, Table
from secateur.pruning import cut
from secateur.tuning import repair
from secateur.twin import fixed_values, run

RESIDUAL = ["resnet-a", "resnet-b", "mobilenet", "preactivation"]


def tensors_of(network: Network, x: np.ndarray) -> dict[str, torch.Tensor]:
    with torch.no_grad():
        return run(network, {"input": torch.from_numpy(x)}, fixed_values(network), wanted=network.shapes)


@pytest.mark.parametrize("name", networks.TOPOLOGIES)
def test_the_full_network_stays_what_it_is(name: str) -> None:
    network, x = networks.network_of(name), networks.samples(networks.MAKERS[name][1], 100)
    groups = find_groups(network)
    same = network.with_values(tables=repair(network, network, groups, groups.full(), x))
    output = next(iter(network.outputs))
    want, got = tensors_of(network, x)[output], tensors_of(same, x)[output]
    np.testing.assert_allclose(got, want, atol=2e-3 * float(want.abs().max()))


def test_wrong_scales_and_shifts_behind_are_found_again() -> None:
    network, x = networks.network_of("preactivation"), networks.samples((3, 8, 8), 100)
    groups = find_groups(network)
    wrong = {name: Table(2.5 * table.scale + 0.1, table.shift - 1) for name, table in network.tables.items()}
    output = next(node.attrs["table"] for node in network.nodes if node.output in network.outputs)
    wrong[output] = network.tables[output]
    found = repair(network.with_values(tables=wrong), network, groups, groups.full(), x)
    for name, table in network.tables.items():
        np.testing.assert_allclose(found[name].scale, table.scale, rtol=1e-2, atol=1e-3, err_msg=name)
        np.testing.assert_allclose(found[name].shift, table.shift, rtol=1e-2, atol=1e-2, err_msg=name)


@pytest.mark.parametrize("name", RESIDUAL)
def test_scales_behind_weights_stay_positive_and_the_output_as_it_is(name: str) -> None:
    network, x = networks.network_of(name), networks.samples(networks.MAKERS[name][1], 64)
    groups = find_groups(network)
    keep = {group.id: max(1, group.size // 2) for group in groups.groups} | {"b0": 0}
    small = cut(network, groups, keep)
    tables = repair(small, network, groups, keep, x)
    assert set(tables) == set(small.tables)
    output = next(node.attrs["table"] for node in network.nodes if node.output in network.outputs)
    producers = network.producers()
    behind = {n.attrs["table"] for n in network.nodes if n.op == "Affine" and "weight" in producers[n.inputs[0]].attrs}
    for key, table in tables.items():
        assert table.scale.shape == small.tables[key].scale.shape
        assert table.scale.dtype == np.float32
        assert (table.scale >= 0).all() or key not in behind
        assert np.isfinite(table.shift).all()
    np.testing.assert_array_equal(tables[output].scale, small.tables[output].scale)


def test_the_next_branch_makes_up_for_the_one_that_is_gone() -> None:
    network, x = digits.residual_network(), digits.task().inputs("calibration")[:256]
    groups = find_groups(network)
    stream = groups.blocks[2].add
    keep = {**groups.full(), "b1": 0}
    small = cut(network, groups, keep)
    fitted = small.with_values(tables=repair(small, network, groups, keep, x))
    want = tensors_of(network, x)
    before, after = (float(((tensors_of(each, x)[stream] - want[stream]) ** 2).sum()) for each in (small, fitted))
    assert after < 0.8 * before
    output = next(iter(network.outputs))
    before, after = (float(((tensors_of(each, x)[output] - want[output]) ** 2).sum()) for each in (small, fitted))
    assert after < 0.5 * before
