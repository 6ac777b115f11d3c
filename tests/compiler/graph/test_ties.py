"""Ties know which part every element of a class plays."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tests.compiler.networks import normal_form
from torch import Tensor, nn

from secateur.graph import ProofError, find_groups, prove, prove_sorted
from secateur.graph.proof import random_keeps
from secateur.graph.ties import Ties
from secateur.ir import Groups
from secateur.pruning import cut, sort_groups

TURNS = [1, 2, 0, 5, 3, 4, 7, 8, 6]
"""Three cycles of three channels; the second turns the other way."""


class Turned(nn.Module):
    """Channels are added to their neighbours in cycles, so that the three of a cycle go together."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Conv2d(1, 9, 3), nn.Conv2d(9, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.first(x))
        return self.last(x + x[:, TURNS])


def second_first(groups: Groups) -> dict[str, np.ndarray]:
    return {group.id: np.asarray([1.0, 2.0, 0.0][: group.size]) for group in groups.groups}


def test_only_channels_whose_elements_play_the_same_parts_change_places() -> None:
    network = normal_form(Turned(), (1, 6, 6))
    groups = find_groups(network)
    assert sorted(group.size for group in groups.groups) == [1, 2]
    prove(network, groups, cut, random_keeps(groups, 2))
    assert prove_sorted(network, sort_groups(network, groups, second_first(groups))) <= 1e-9


def test_channels_that_are_only_tied_alike_in_number_may_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Ties, "structure", lambda ties: {})
    network = normal_form(Turned(), (1, 6, 6))
    groups = find_groups(network)
    assert [group.size for group in groups.groups] == [3]
    with pytest.raises(ProofError, match="sorting changes output"):
        prove_sorted(network, sort_groups(network, groups, second_first(groups)))
