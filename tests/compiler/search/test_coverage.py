"""Coverage is the share of the work in layers that can be cut, and names the others."""

from __future__ import annotations

import pytest
from tests.compiler.networks import normal_form
from torch import Tensor, nn

from secateur.graph import find_groups
from secateur.ir import Groups
from secateur.search import coverage


class HalfFrozen(nn.Module):
    """The first two layers cut each other's channels; a mean over the channels freezes the others."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(1, 4, 1), nn.Conv2d(4, 8, 1)
        self.third, self.rise = nn.Conv2d(1, 6, 3, padding=1), nn.ConvTranspose2d(6, 2, 2, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.second(self.first(x)).mean(1, keepdim=True)
        return self.rise(self.third(x).softmax(1))


def test_share_counts_the_work_of_layers_that_can_be_cut() -> None:
    network = normal_form(HalfFrozen(), (1, 5, 5))
    found = coverage(network, find_groups(network))
    positions = 25
    cuttable = positions * (4 + 4 * 8)
    assert found.cuttable_macs == cuttable
    assert found.macs == cuttable + positions * (6 * 9 + 6 * 2 * 4)
    assert found.share == pytest.approx(cuttable / found.macs)
    assert set(found.frozen) == {"third", "rise"}
    assert "softmax" in found.frozen["third"]
    assert "output" in found.frozen["rise"]


def test_nothing_can_be_cut_without_groups() -> None:
    network = normal_form(HalfFrozen(), (1, 5, 5))
    found = coverage(network, Groups([]))
    assert found.share == 0
    assert set(found.frozen) == {"first", "second", "third", "rise"}
