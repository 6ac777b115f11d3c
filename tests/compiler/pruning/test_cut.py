"""Cut networks are whole networks of their own, of the shapes asked for."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from tests.compiler.networks import TOPOLOGIES, network_of, samples

from secateur.graph import find_groups
from secateur.ir import Table
from secateur.pruning import cut
from secateur.twin import fixed_values, run, shapes_of


@pytest.mark.parametrize("name", TOPOLOGIES)
def test_shapes_are_those_of_the_kept_channels(name: str) -> None:
    network = network_of(name)
    groups = find_groups(network)
    keep = {group.id: max(1, group.size // 2) for group in groups.groups}
    small = cut(network, groups, keep)
    assert small.shapes == shapes_of(small)
    assert small.outputs == network.outputs
    assert small.params < network.params
    for key, weight in small.weights.items():
        rows, columns = (groups.kept((f"weight:{key}", axis), network.weights[key].shape[axis], keep) for axis in (0, 1))
        np.testing.assert_array_equal(weight, network.weights[key][np.ix_(rows, columns)])


@pytest.mark.parametrize("name", TOPOLOGIES)
def test_one_channel_of_each_group_is_enough(name: str) -> None:
    network = network_of(name)
    groups = find_groups(network)
    small = cut(network, groups, {group.id: 1 for group in groups.groups})
    (tensor, shape) = next(iter(small.inputs.items()))
    result = run(small, {tensor: torch.zeros((2, *shape[1:]))}, fixed_values(small))
    assert all(torch.isfinite(value).all() for value in result.values())


def test_keeping_everything_is_a_copy() -> None:
    network = network_of("resnet-a")
    groups = find_groups(network)
    same = cut(network, groups, groups.full())
    assert [node.attrs for node in same.nodes] == [node.attrs for node in network.nodes]
    for key, weight in same.weights.items():
        np.testing.assert_array_equal(weight, network.weights[key])
        assert not np.shares_memory(weight, network.weights[key])
    for key, table in same.tables.items():
        assert not np.shares_memory(table.scale, network.tables[key].scale)


def test_depthwise_groups_and_padding_follow_the_cut() -> None:
    network = network_of("mobilenet")
    groups = find_groups(network)
    wide = next(group for group in groups.groups if group.source == "blocks.0.body.0")
    small = cut(network, groups, {**groups.full(), wide.id: 12})
    counts = [node.attrs["groups"] for node in small.nodes if node.op == "Conv" and node.source == "blocks.0.body.3"]
    assert counts == [12]
    network = network_of("resnet-a")
    groups = find_groups(network)
    stream, rest = (next(g for g in groups.groups if g.source == source) for source in ("stem", "conv4"))
    pads = [
        node.attrs for node in cut(network, groups, {**groups.full(), stream.id: 3, rest.id: 5}).nodes if node.op == "Pad"
    ]
    assert [(pad["begins"][1], pad["ends"][1]) for pad in pads] == [(4, 1)]


@pytest.mark.parametrize("name", ["resnet-b", "mobilenet", "preactivation"])
def test_a_dropped_block_leaves_nothing_behind_and_only_its_branch_is_missed(name: str) -> None:
    network = network_of(name)
    groups = find_groups(network)
    for block in groups.blocks:
        small = cut(network, groups, {**groups.full(), block.id: 0})
        assert not set(block.nodes) & {name for node in small.nodes for name in (*node.inputs, node.output)}
        assert not set(block.nodes) & set(small.shapes)
        assert set(small.weights) == {name for node in small.nodes for name in node.weights}
        assert set(small.tables) == {node.attrs["table"] for node in small.nodes if node.op == "Affine"}
        gone = [node for node in network.nodes if node.output in block.nodes]
        assert len(small.nodes) == len(network.nodes) - len(gone)
        assert small.shapes == shapes_of(small)
        # The same function as the full network in which the branch's last scale and shift are 0.
        table = next(node.attrs["table"] for node in reversed(gone) if node.op == "Affine")
        silent = Table(0 * network.tables[table].scale, 0 * network.tables[table].shift)
        (tensor, shape) = next(iter(network.inputs.items()))
        x = torch.from_numpy(samples(shape[1:], 5))
        silenced = network.with_values(tables={**network.tables, table: silent})
        (want,) = run(silenced, {tensor: x}, fixed_values(silenced)).values()
        (got,) = run(small, {tensor: x}, fixed_values(small)).values()
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)


def test_neighbouring_blocks_are_rewired_to_the_tensor_before_both() -> None:
    network = network_of("preactivation")
    groups = find_groups(network)
    first, second = groups.blocks[:2]
    assert second.skip == first.add
    small = cut(network, groups, {**groups.full(), first.id: 0, second.id: 0})
    readers = [node for node in small.nodes if first.skip in node.inputs]
    assert [node.source for node in readers] == ["/blocks/blocks.2/bn1/BatchNormalization"]


def test_a_weight_that_another_node_uses_too_stays() -> None:
    network = network_of("preactivation")
    groups = find_groups(network)
    inside = next(node for node in network.nodes if node.source == "blocks.0.conv1" and node.op == "Conv")
    other = next(node for node in network.nodes if node.source == "blocks.1.conv1" and node.op == "Conv")
    shared = [node.with_attrs(weight=inside.attrs["weight"]) if node is other else node for node in network.nodes]
    small = cut(replace(network, nodes=shared), groups, {**groups.full(), "b0": 0})
    assert inside.attrs["weight"] in small.weights
