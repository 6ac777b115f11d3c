"""Channel groups: what is tied to what on each topology, and what is frozen and why."""

from __future__ import annotations

import numpy as np
import pytest
from tests.compiler.networks import TOPOLOGIES, Halves, Multiplier, network_of, normal_form
from torch import Tensor, nn

from secateur.graph import find_groups
from secateur.ir import Groups, Network
from secateur.search import Costs

SIZES = {
    "smartwatch": {"stem": 16, "pointwise": 32},
    "resnet-a": {"stem": 8, "conv1": 8, "conv3": 16, "conv4": 8},
    "resnet-b": {"stem": 8, "conv1": 8, "conv3": 16, "conv4": 16},
    "mobilenet": {
        "stem.0": 8,
        "blocks.0.body.0": 32,
        "blocks.1.body.0": 32,
        "blocks.1.body.6": 16,
        "blocks.2.body.0": 64,
        "last.0": 32,
    },
    "preactivation": {
        "stem": 8,
        "blocks.0.conv1": 8,
        "blocks.1.conv1": 8,
        "blocks.2.projection": 12,
        "blocks.2.conv1": 12,
        "blocks.3.conv1": 12,
    },
    "vgg": {"conv1": 8, "conv2": 12, "fc1": 24},
    "mlp": {"0": 24, "3": 16},
    "mixed": {"conv1": 12, "conv3": 16, "/mix/MatMul": 24},
}


def weight_of(network: Network, source: str) -> str:
    names = {node.source: node.attrs["weight"] for node in network.nodes if "weight" in node.attrs}
    return f"weight:{names[source]}"


def group_of(groups: Groups, source: str):  # type: ignore[no-untyped-def]
    return next(group for group in groups.groups if group.source == source)


def groups_of(module: nn.Module, shape: tuple[int, ...]) -> tuple[Network, Groups]:
    network = normal_form(module, shape)
    return network, find_groups(network)


@pytest.mark.parametrize("name", TOPOLOGIES)
def test_groups_are_those_of_the_topology(name: str) -> None:
    groups = find_groups(network_of(name))
    assert {group.source: group.size for group in groups.groups} == SIZES[name]
    assert [group.id for group in groups.groups] == [f"g{i}" for i in range(len(groups.groups))]


@pytest.mark.parametrize("name", TOPOLOGIES)
def test_a_folded_file_has_the_same_groups(name: str) -> None:
    sizes = [[group.size for group in find_groups(network_of(name, folded)).groups] for folded in (False, True)]
    assert sizes[0] == sizes[1]


@pytest.mark.parametrize("name", TOPOLOGIES)
def test_most_of_the_work_can_be_cut(name: str) -> None:
    network = network_of(name)
    groups = find_groups(network)
    costs = Costs(network, groups)
    assert costs.macs({group.id: 1 for group in groups.groups}) <= 0.4 * costs.macs(groups.full())


@pytest.mark.parametrize("name", TOPOLOGIES)
def test_the_classifiers_outputs_are_frozen_and_the_reason_is_told(name: str) -> None:
    network = network_of(name)
    groups = find_groups(network)
    output = next(iter(network.outputs))
    (reason,) = groups.barriers.values()
    expected = "softmax /Softmax depends on all of its axis" if name == "mixed" else f"output {output} of the network"
    assert reason == expected
    assert (f"tensor:{output}", 1) not in groups.axes()


@pytest.mark.parametrize("name", TOPOLOGIES)
def test_no_element_is_in_two_groups(name: str) -> None:
    seen: set[tuple[str, int, int]] = set()
    for group in find_groups(network_of(name)).groups:
        for (tensor, axis), members in group.members.items():
            elements = {(tensor, axis, int(index)) for index in members.ravel()}
            assert len(elements) == members.size
            assert not seen & elements
            seen |= elements


def test_padded_shortcut_ties_each_channel_at_its_offset() -> None:
    network = network_of("resnet-a")
    groups = find_groups(network)
    stream, wide = group_of(groups, "stem"), weight_of(network, "conv4")
    for maker in ("stem", "conv2"):
        np.testing.assert_array_equal(stream.members[weight_of(network, maker), 0].ravel(), range(8))
    np.testing.assert_array_equal(stream.members[wide, 0].ravel(), range(4, 12))
    rest = group_of(groups, "conv4")
    np.testing.assert_array_equal(rest.members[wide, 0].ravel(), [0, 1, 2, 3, 12, 13, 14, 15])


def test_convolved_shortcut_ties_both_branches_that_are_added() -> None:
    network = network_of("resnet-b")
    group = group_of(find_groups(network), "conv4")
    assert (weight_of(network, "shortcut.0"), 0) in group.members
    assert (weight_of(network, "head"), 1) in group.members


def test_depthwise_convolution_ties_its_channels_one_to_one() -> None:
    network = network_of("mobilenet")
    group = group_of(find_groups(network), "blocks.0.body.0")
    for source in ("blocks.0.body.0", "blocks.0.body.3"):
        np.testing.assert_array_equal(group.members[weight_of(network, source), 0].ravel(), range(32))
    np.testing.assert_array_equal(group.members[weight_of(network, "blocks.0.body.6"), 1].ravel(), range(32))


def test_flattened_channel_is_a_block_of_features() -> None:
    network = network_of("vgg")
    members = group_of(find_groups(network), "conv2").members[weight_of(network, "fc1"), 1]
    np.testing.assert_array_equal(members, np.arange(48).reshape(12, 4))


def test_depthwise_multiplier_ties_several_outputs_to_one_input() -> None:
    network, groups = groups_of(Multiplier(), (1, 6, 6))
    group = group_of(groups, "first")
    np.testing.assert_array_equal(group.members[weight_of(network, "depthwise"), 0], np.arange(12).reshape(4, 3))


class Barriers(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.third = nn.Conv2d(1, 8, 3), nn.Conv2d(1, 8, 1), nn.Conv2d(8, 8, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.second(self.first(x).mean(1, keepdim=True))
        return self.third(x.softmax(1))


def test_barriers_say_why() -> None:
    _, groups = groups_of(Barriers(), (1, 8, 8))
    assert "ReduceMean" in groups.barriers["first"]
    assert "depends on all of its axis" in groups.barriers["first"]
    assert "softmax" in groups.barriers["second"]
    assert groups.groups == []


def test_slices_along_the_channels_are_tied_at_their_offset() -> None:
    network, groups = groups_of(Halves(), (1, 6, 6))
    (group,) = groups.groups
    expected = np.stack([np.arange(4), np.arange(4, 8)], axis=1)
    np.testing.assert_array_equal(group.members[weight_of(network, "first"), 0], expected)
