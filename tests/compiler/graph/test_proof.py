"""The proof passes on right groups and fails on every deliberately wrong tie."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from tests.compiler.networks import TOPOLOGIES, Halves, Multiplier, network_of, normal_form, samples

from secateur.criteria import Evidence, score
from secateur.graph import ProofError, find_groups, prove, prove_sorted
from secateur.graph.proof import random_keeps
from secateur.graph.rules import RULES
from secateur.graph.ties import Ties, tensor_axis, weight_axis
from secateur.ir import Node
from secateur.pruning import cut, sort_groups
from secateur.twin import fixed_values, run


@pytest.mark.parametrize("name", TOPOLOGIES)
@pytest.mark.parametrize("folded", [False, True])
def test_cut_networks_are_the_masked_ones(name: str, folded: bool) -> None:
    network = network_of(name, folded)
    groups = find_groups(network)
    assert prove(network, groups, cut, random_keeps(groups, 3)) <= 1e-9
    ordered = sort_groups(network, groups, score("magnitude-l2", Evidence(network, groups)))
    assert prove_sorted(network, ordered) <= 1e-9
    assert prove(ordered, groups, cut, random_keeps(groups, 3, seed=1)) <= 1e-9


@pytest.mark.parametrize("module", [Multiplier, Halves])
def test_unusual_ties_are_proved_too(module: type) -> None:
    network = normal_form(module(), (1, 6, 6))
    groups = find_groups(network)
    assert prove(network, groups, cut, random_keeps(groups, 4)) <= 1e-9


def pad_without_offset(node: Node, ties: Ties) -> None:
    x, y = node.inputs[0], node.output
    for axis in range(1, ties.rank(x)):
        size = ties.size(*tensor_axis(x, axis))
        ties.tie(tensor_axis(x, axis), tensor_axis(y, axis), None, range(size))


def flatten_position_major(node: Node, ties: Ties) -> None:
    x, y = node.inputs[0], node.output
    shape = ties.network.shapes[x]
    for position in range(int(np.prod(shape[2:]))):
        start = position * shape[1]
        ties.tie(tensor_axis(x, 1), tensor_axis(y, 1), None, range(start, start + shape[1]))
    ties.freeze_spatial(x, "positions")


def flatten_wrong_block(node: Node, ties: Ties) -> None:
    x, y = node.inputs[0], node.output
    shape = ties.network.shapes[x]
    positions = int(np.prod(shape[2:]))
    for position in range(positions):
        features = (np.arange(shape[1]) * positions + position + 1) % (shape[1] * positions)
        ties.tie(tensor_axis(x, 1), tensor_axis(y, 1), None, features)
    ties.freeze_spatial(x, "positions")


def depthwise_off_by_one(node: Node, ties: Ties) -> None:
    if node.attrs["groups"] == 1:
        RIGHT["Conv"](node, ties)
        return
    x, y, weight = node.inputs[0], node.output, node.attrs["weight"]
    for tensor in (x, y):
        ties.freeze_spatial(tensor, "positions")
    size = ties.size(*tensor_axis(x, 1))
    ties.tie(tensor_axis(y, 1), weight_axis(weight, 0))
    ties.tie(tensor_axis(x, 1), weight_axis(weight, 0), None, np.roll(np.arange(size), 1))


def untied_add(node: Node, ties: Ties) -> None:
    ties.tie_tensors(node.inputs[0], node.output)


def shifted_affine(node: Node, ties: Ties) -> None:
    ties.tie_tensors(node.inputs[0], node.output)
    axis = tensor_axis(node.output, node.attrs["axis"])
    ties.tie(axis, ("table:" + node.attrs["table"], 0), None, np.roll(np.arange(ties.size(*axis)), 1))


RIGHT = dict(RULES)
WRONG: list[tuple[str, str, Callable[[Node, Ties], None]]] = [
    ("resnet-a", "Pad", pad_without_offset),
    ("vgg", "Flatten", flatten_position_major),
    ("vgg", "Flatten", flatten_wrong_block),
    ("mobilenet", "Conv", depthwise_off_by_one),
    ("smartwatch", "Conv", depthwise_off_by_one),
    ("resnet-a", "Add", untied_add),
    ("resnet-b", "Add", untied_add),
    ("mlp", "Affine", shifted_affine),
]


@pytest.mark.parametrize(("name", "op", "rule"), WRONG, ids=lambda value: getattr(value, "__name__", value))
def test_a_wrong_tie_fails(monkeypatch: pytest.MonkeyPatch, name: str, op: str, rule: Callable[[Node, Ties], None]) -> None:
    network = network_of(name)
    monkeypatch.setitem(RULES, op, rule)
    groups = find_groups(network)
    assert groups.groups, "the wrong rule leaves nothing to cut, so that this test would show nothing"
    with pytest.raises(ProofError, match=r"^proof: "):
        prove(network, groups, cut, random_keeps(groups, 4))


@pytest.mark.parametrize("name", ["resnet-a", "resnet-b", "mobilenet", "preactivation"])
def test_a_wrong_skip_tensor_fails(name: str) -> None:
    network = network_of(name)
    groups = find_groups(network)
    feeds = {name: torch.from_numpy(samples(shape[1:], 2)) for name, shape in network.inputs.items()}
    values = run(network, feeds, fixed_values(network), wanted=network.shapes)
    for number, block in enumerate(groups.blocks):
        before = list(network.shapes)[: list(network.shapes).index(block.nodes[0])]
        others = [t for t in before if network.shapes[t] == network.shapes[block.skip]]
        # In the place of the sum, what only a Relu makes different is not wrong where a Relu follows.
        others = [t for t in others if not torch.allclose(values[t].relu(), values[block.skip].relu(), atol=1e-5)]
        for other in [*others, *block.nodes[:-1]]:
            groups.blocks[number] = replace(block, skip=other)
            with pytest.raises(ProofError, match=r"^proof: "):
                prove(network, groups, cut, random_keeps(groups, 0))
        groups.blocks[number] = block


def test_the_skip_tensor_of_another_block_fails() -> None:
    network = network_of("preactivation")
    groups = find_groups(network)
    first, second = groups.blocks[:2]
    groups.blocks[1] = replace(second, skip=first.skip)
    with pytest.raises(ProofError, match="differs from the masked network"):
        prove(network, groups, cut, random_keeps(groups, 0))


def test_a_block_that_takes_too_much_or_too_little_fails() -> None:
    network = network_of("mobilenet")
    groups = find_groups(network)
    block = groups.blocks[1]
    for nodes in (block.nodes[1:], (block.skip, *block.nodes), block.nodes[:3] + block.nodes[4:]):
        groups.blocks[1] = replace(block, nodes=nodes)
        with pytest.raises(ProofError, match=r"^proof: "):
            prove(network, groups, cut, random_keeps(groups, 0))


def test_every_block_is_dropped_in_some_proof_while_its_neighbours_are_kept() -> None:
    groups = find_groups(network_of("preactivation"))
    keeps = random_keeps(groups, 0)
    for before, block, after in zip([None, *groups.blocks], groups.blocks, [*groups.blocks[1:], None]):
        alone = [keep for keep in keeps if not keep[block.id]]
        assert any(all(keep[other.id] for other in (before, after) if other) for keep in alone)
    without = find_groups(network_of("vgg"))
    assert random_keeps(without, 0) == [without.full()]


def test_a_sorting_that_forgets_a_consumer_fails() -> None:
    network = network_of("resnet-b")
    groups = find_groups(network)
    ordered = sort_groups(network, groups, score("magnitude-l2", Evidence(network, groups)))
    forgotten = ordered.with_values(weights={**ordered.weights, "w2": network.weights["w2"]})
    with pytest.raises(ProofError, match="sorting changes output"):
        prove_sorted(network, forgotten)
