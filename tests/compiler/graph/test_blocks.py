"""Blocks: which residual branches of each topology can be dropped, and why others cannot."""

from __future__ import annotations

import pytest
import torch.nn.functional as F
from tests.compiler.networks import TOPOLOGIES, network_of, normal_form
from torch import Tensor, nn

from secateur.graph import find_groups, prove
from secateur.graph.blocks import find_blocks
from secateur.graph.proof import random_keeps
from secateur.pruning import cut

SOURCES = {
    "resnet-a": ["conv1"],
    "resnet-b": ["conv1"],
    "mobilenet": ["blocks.0.body.0", "blocks.2.body.0"],
    "preactivation": ["blocks.0.conv1", "blocks.1.conv1", "blocks.3.conv1"],
}


@pytest.mark.parametrize("name", TOPOLOGIES)
@pytest.mark.parametrize("folded", [False, True])
def test_blocks_are_those_of_the_topology(name: str, folded: bool) -> None:
    network = network_of(name, folded)
    blocks, _ = find_blocks(network)
    assert len(blocks) == len(SOURCES.get(name, []))
    if not folded:  # a folded file names operators, not modules
        assert [block.source for block in blocks] == SOURCES.get(name, [])
    assert [block.id for block in blocks] == [f"b{i}" for i in range(len(blocks))]
    producers, readers = network.producers(), network.consumers()
    for block in blocks:
        assert producers[block.add].op == "Add"
        assert block.skip in producers[block.add].inputs
        assert block.nodes[-1] == block.add
        inside = set(block.nodes)
        assert all(reader.output in inside for name in block.nodes[:-1] for reader in readers[name])
        assert {x for name in block.nodes for x in producers[name].inputs} - inside == {block.skip}


@pytest.mark.parametrize(
    ("name", "addition"), [("resnet-a", "/Add_1"), ("resnet-b", "/Add_1"), ("preactivation", "/blocks/blocks.2/Add")]
)
def test_where_the_stream_changes_its_shape_nothing_can_be_dropped_and_the_reason_is_told(name: str, addition: str) -> None:
    groups = find_groups(network_of(name))
    assert list(groups.block_barriers) == [addition]
    assert "projection" in groups.block_barriers[addition]


class Nested(nn.Module):
    """A residual branch with another inside, and one without a weight inside a third."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.head = nn.Conv1d(2, 6, 1), nn.Conv1d(6, 2, 1)
        self.outer, self.inner, self.third = (nn.Conv1d(6, 6, 1) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        y = self.outer(x)
        x = x + (y + F.relu(self.inner(y)))
        z = self.third(x)
        return self.head(x + (z + F.relu(z)))


def test_of_nested_blocks_the_innermost_with_a_weight_is_one() -> None:
    network = normal_form(Nested(), (2, 5))
    groups = find_groups(network)
    assert [block.source for block in groups.blocks] == ["inner", "third"]
    assert sorted(groups.block_barriers.values()) == ["its branch contains another block", "its branch has no weight"]
    assert prove(network, groups, cut, random_keeps(groups, 3)) <= 1e-9


class Leaky(nn.Module):
    """Branches that something outside reads, and a sum that is the network's output."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.first, self.last = nn.Conv1d(2, 6, 1), nn.Conv1d(6, 6, 1), nn.Conv1d(6, 6, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        y = F.relu(self.first(x))
        x = F.relu(x + y) * y
        return x + self.last(x)


def test_a_branch_that_is_read_from_outside_or_ends_in_the_output_is_none() -> None:
    groups = find_groups(normal_form(Leaky(), (2, 5)))
    assert groups.blocks == []
    reasons = list(groups.block_barriers.values())
    assert "reads a tensor of its branch from outside" in reasons[0]
    assert "is output" not in reasons[0]
    assert reasons[1] == "its sum is output output of the network"


class Tokens(nn.Module):
    """Two sublayers on one stream of tokens, as in a vision transformer: one mixes tokens, one mixes channels."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.mix = nn.Linear(4, 8), nn.Conv1d(8, 8, 3, padding=1)
        self.up, self.down, self.head = nn.Linear(8, 16), nn.Linear(16, 8), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.embed(x)
        x = x + self.mix(x.transpose(1, 2)).transpose(1, 2)
        x = x + self.down(F.relu(self.up(x)))
        return self.head(x.transpose(1, 2).mean(2))


def test_both_sublayers_of_a_stream_of_tokens_are_blocks() -> None:
    network = normal_form(Tokens(), (5, 4))
    groups = find_groups(network)
    assert [block.id for block in groups.blocks] == ["b0", "b1"]
    assert groups.blocks[1].skip == groups.blocks[0].add
    assert prove(network, groups, cut, random_keeps(groups, 3)) <= 1e-9


def test_a_stream_that_begins_at_the_input_may_lose_its_first_block() -> None:
    class FromInput(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.head = nn.Conv1d(4, 4, 1), nn.Conv1d(4, 2, 1)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(F.relu(x + self.body(x)))

    network = normal_form(FromInput(), (4, 5))
    groups = find_groups(network)
    assert [block.skip for block in groups.blocks] == list(network.inputs)
    assert prove(network, groups, cut, random_keeps(groups, 2)) <= 1e-9
