"""What users of pruning tools complain of most: wrong groups. Wrong ties, injected on purpose, are caught by the proof."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tests.compiler.networks import Shape, normal_form
from torch import Tensor, nn

from secateur.criteria import Evidence, score
from secateur.graph import ProofError, find_groups, prove, prove_sorted
from secateur.graph.proof import random_keeps
from secateur.graph.rules import RULES
from secateur.graph.ties import Ties, tensor_axis, weight_axis
from secateur.ir import Groups, Network, Node
from secateur.pruning import cut, sort_groups

RIGHT = dict(RULES)
SHAPE: Shape = (2, 6, 6)
Rule = Callable[[Node, Ties], None]


class Grouped(nn.Module):
    """A dense, a depthwise and a grouped convolution, and a dense one that reads them."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.depthwise = nn.Conv2d(2, 12, 3, padding=1), nn.Conv2d(12, 12, 3, padding=1, groups=12)
        self.grouped, self.last = nn.Conv2d(12, 18, 3, padding=1, groups=3), nn.Conv2d(18, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(F.relu(self.grouped(F.relu(self.depthwise(F.relu(self.first(x)))))))


class Joined(nn.Module):
    """Two branches joined, shuffled, split in unequal parts, and read apart."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = nn.Conv2d(2, 6, 3, padding=1), nn.Conv2d(2, 10, 3, padding=1)
        self.small, self.large = nn.Conv2d(5, 3, 1), nn.Conv2d(11, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        joined = torch.cat((F.relu(self.left(x)), F.relu(self.right(x))), 1)
        batch, channels, height, width = joined.shape
        mixed = joined.view(batch, 2, channels // 2, height, width).transpose(1, 2).reshape(batch, -1, height, width)
        small, large = torch.split(mixed, [5, 11], 1)
        return self.small(small) + self.large(large)


def proved(network: Network) -> Groups:
    """Find groups, prove them, sort by magnitude and prove that."""
    groups = find_groups(network)
    assert groups.groups, "nothing can be cut, so that a proof would show nothing"
    prove(network, groups, cut, random_keeps(groups, 4))
    prove_sorted(network, sort_groups(network, groups, score("magnitude-l2", Evidence(network, groups))))
    return groups


def depthwise_untied(node: Node, ties: Ties) -> None:
    if node.attrs["groups"] != ties.size(*tensor_axis(node.inputs[0], 1)):
        RIGHT["Conv"](node, ties)
        return
    for tensor in (node.inputs[0], node.output):
        ties.freeze_spatial(tensor, "positions")
    ties.tie(tensor_axis(node.output, 1), weight_axis(node.attrs["weight"], 0))


def groups_cut_unlike(node: Node, ties: Ties) -> None:
    """Input channels of a group are tied to the weight, but output channels not from group to group."""
    groups = node.attrs["groups"]
    if groups in (1, ties.size(*tensor_axis(node.inputs[0], 1))):
        RIGHT["Conv"](node, ties)
        return
    for tensor in (node.inputs[0], node.output):
        ties.freeze_spatial(tensor, "positions")
    weight = node.attrs["weight"]
    ties.tie(tensor_axis(node.output, 1), weight_axis(weight, 0))
    taken = ties.size(*weight_axis(weight, 1))
    for group in range(groups):
        ties.tie(tensor_axis(node.inputs[0], 1), weight_axis(weight, 1), range(group * taken, (group + 1) * taken))


def groups_as_if_interleaved(node: Node, ties: Ties) -> None:
    """Neighbouring output channels are tied, as if the groups alternated."""
    groups = node.attrs["groups"]
    if groups in (1, ties.size(*tensor_axis(node.inputs[0], 1))):
        RIGHT["Conv"](node, ties)
        return
    groups_cut_unlike(node, ties)
    y = tensor_axis(node.output, 1)
    for offset in range(groups):
        ties.tie(y, y, range(0, ties.size(*y), groups), range(offset, ties.size(*y), groups))


def concat_off_by_one(node: Node, ties: Ties) -> None:
    begin, y = 1, tensor_axis(node.output, 1)
    for x in node.inputs:
        size = ties.size(*tensor_axis(x, 1))
        ties.tie(tensor_axis(x, 1), y, None, [(begin + i) % ties.size(*y) for i in range(size)])
        begin += size


def concat_without_offset(node: Node, ties: Ties) -> None:
    for x in node.inputs:
        ties.tie(tensor_axis(x, 1), tensor_axis(node.output, 1), None, range(ties.size(*tensor_axis(x, 1))))


def split_without_offset(node: Node, ties: Ties) -> None:
    size = ties.size(*tensor_axis(node.output, 1))
    ties.tie(tensor_axis(node.inputs[0], 1), tensor_axis(node.output, 1), range(size))


def shuffle_the_other_way(node: Node, ties: Ties) -> None:
    index = np.argsort(node.attrs["index"])
    ties.tie(tensor_axis(node.inputs[0], 1), tensor_axis(node.output, 1), [int(i) for i in index])


def shuffle_forgotten(node: Node, ties: Ties) -> None:
    ties.tie_tensors(node.inputs[0], node.output)


@pytest.mark.parametrize("module", [Grouped, Joined])
def test_the_right_rules_are_proved(module: type[nn.Module]) -> None:
    proved(normal_form(module(), SHAPE))


@pytest.mark.parametrize("rule", [depthwise_untied, groups_cut_unlike, groups_as_if_interleaved])
def test_depthwise_and_grouped_convolutions_mis_cut(monkeypatch: pytest.MonkeyPatch, rule: Rule) -> None:
    """Depthwise and grouped convolutions are cut so that channels and groups no longer fit.

    https://github.com/VainF/Torch-Pruning/issues/328, /126 and /179.
    """
    network = normal_form(Grouped(), SHAPE)
    monkeypatch.setitem(RULES, "Conv", rule)
    with pytest.raises(ProofError, match=r"^proof: "):
        proved(network)


@pytest.mark.parametrize(
    ("op", "rule"),
    [
        ("Concat", concat_off_by_one),
        ("Concat", concat_without_offset),
        ("Slice", split_without_offset),
        ("Take", shuffle_the_other_way),
        ("Take", shuffle_forgotten),
    ],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_concat_and_split_mis_grouped(monkeypatch: pytest.MonkeyPatch, op: str, rule: Rule) -> None:
    """Channels behind a join, a split or a shuffle are taken for others.

    https://github.com/VainF/Torch-Pruning/issues/146, /147 and /481.
    """
    network = normal_form(Joined(), SHAPE)
    assert op in {node.op for node in network.nodes}
    monkeypatch.setitem(RULES, op, rule)
    with pytest.raises(ProofError, match=r"^proof: "):
        proved(network)


def test_an_operator_without_a_rule_is_a_barrier_that_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    network = normal_form(Joined(), SHAPE)
    monkeypatch.delitem(RULES, "Take")
    groups = find_groups(network)
    (shuffle,) = [node for node in network.nodes if node.op == "Take"]
    assert groups.groups == []
    assert groups.barriers["left"] == groups.barriers["right"] == f"operator Take ({shuffle.source}) has no rule"
    prove(network, groups, cut, random_keeps(groups, 1))
