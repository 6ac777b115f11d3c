"""Masked channels are as good as cut ones, and learn only if they may regrow; each channel owns the parameters it should."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tests.compiler.networks import TOPOLOGIES, network_of

from secateur.graph import find_groups
from secateur.ir import Node
from secateur.pruning import cut
from secateur.tuning.channels import ChannelMasks, ChannelParameters
from secateur.twin import fixed_values, run


def feeds_of(network):  # type: ignore[no-untyped-def]
    (name, shape) = next(iter(network.inputs.items()))
    return {name: torch.randn((3, *shape[1:]), generator=torch.Generator().manual_seed(0))}


@pytest.mark.parametrize("name", TOPOLOGIES)
@pytest.mark.parametrize("regrow", [False, True])
def test_a_masked_network_computes_what_the_cut_one_does(name: str, regrow: bool) -> None:
    network = network_of(name)
    groups, feeds = find_groups(network), feeds_of(network)
    keep = {group.id: max(1, group.size // 2) for group in groups.groups}
    masks = ChannelMasks(network, groups, regrow)
    masks.set({group.id: np.arange(group.size) < keep[group.id] for group in groups.groups})
    masked = next(iter(run(network, feeds, fixed_values(network), on_tensor=masks.on_tensor).values()))
    small = cut(network, groups, keep)
    expected = next(iter(run(small, feeds, fixed_values(small)).values()))
    torch.testing.assert_close(masked, expected, rtol=1e-4, atol=1e-4)
    full = next(iter(run(network, feeds, fixed_values(network)).values()))
    assert float((full - expected).abs().max()) > 1e-2


@pytest.mark.parametrize("regrow", [False, True])
def test_gradients_reach_a_masked_channel_only_if_it_may_regrow(regrow: bool) -> None:
    network = network_of("smartwatch")
    groups = find_groups(network)
    group = groups.groups[0]
    masks = ChannelMasks(network, groups, regrow)
    masks.set({g.id: np.arange(g.size) != 0 if g is group else np.ones(g.size, bool) for g in groups.groups})
    makers = [(name.removeprefix("weight:"), rows[0]) for (name, axis), rows in group.members.items() if axis == 0]
    (maker, rows) = next((name, rows) for name, rows in makers if name in network.weights)
    fixed = fixed_values(network)
    weight = torch.tensor(network.weights[maker], requires_grad=True)

    class Values:
        def weight(self, name: str) -> torch.Tensor:
            return weight if name == maker else fixed.weight(name)

        def affine(self, node: Node, x: torch.Tensor) -> torch.Tensor:
            return fixed.affine(node, x)

    next(iter(run(network, feeds_of(network), Values(), on_tensor=masks.on_tensor).values())).square().sum().backward()
    assert weight.grad is not None
    gradients = weight.grad.abs().flatten(1).amax(1)
    assert (float(gradients[rows].max()) > 0) is regrow
    assert float(gradients.max()) > 0


def test_a_channel_owns_the_filters_that_make_it_the_weights_that_read_it_and_its_scales() -> None:
    network = network_of("mlp")
    groups = find_groups(network)
    channels = ChannelParameters(groups)
    weights = {name: torch.tensor(weight) for name, weight in network.weights.items()}
    scales = {name: torch.tensor(table.scale) for name, table in network.tables.items()}
    squares, counts = channels.squares(weights, scales), channels.counts(weights, scales)
    first, second, _ = (node.attrs["weight"] for node in network.nodes if node.op == "Linear")
    hidden = next(group for group in groups.groups if (f"weight:{first}", 0) in group.members)
    on_way = [name.removeprefix("table:") for name, _ in hidden.members if name.startswith("table:")]
    channel = 5
    expected = (weights[first][channel] ** 2).sum() + (weights[second][:, channel] ** 2).sum()
    expected = expected + sum(scales[name][channel] ** 2 for name in on_way)
    torch.testing.assert_close(squares[hidden.id][channel], expected)
    assert counts[hidden.id] == 10 + 16 + len(on_way)
