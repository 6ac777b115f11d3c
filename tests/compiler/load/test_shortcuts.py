"""A padded shortcut becomes a convolution where it computes the same, and stays as it is anywhere else."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from secateur.graph import find_groups
from secateur.load import export_module
from secateur.twin import fixed_values, run

Shortcut = Callable[[Tensor], Tensor]


class Widening(nn.Module):
    """A convolution of stride 2 from 4 to 9 channels, and a shortcut around it."""

    def __init__(self, shortcut: Shortcut, dimensions: int = 2) -> None:
        super().__init__()
        kind = nn.Conv2d if dimensions == 2 else nn.Conv1d
        self.stem, self.conv = kind(3, 4, 3, 1, 1), kind(4, 9, 3, 2, 1)
        self.shortcut = shortcut

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.stem(x))
        return self.conv(x) + self.shortcut(x)


def operators(module: nn.Module, shape: tuple[int, ...]) -> list[str]:
    """Export, check that the network computes what the module does, and return its operators."""
    network = export_module(module.eval(), shape)
    x = torch.randn(2, *shape)
    got = run(network, {"input" if "input" in network.inputs else next(iter(network.inputs)): x}, fixed_values(network))
    np.testing.assert_allclose(next(iter(got.values())).numpy(), module(x).detach().numpy(), atol=1e-5)
    return [node.op for node in network.nodes]


@pytest.mark.parametrize("side", [8, 9], ids=["even", "odd"])
def test_a_slice_and_zeros_become_one_convolution(side: int) -> None:
    module = Widening(lambda x: F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 2, 3)))
    found = operators(module, (3, side, side))
    assert found.count("Conv") == 3
    assert not {"Pad", "Slice"} & set(found)


def test_of_one_dimension_too() -> None:
    found = operators(Widening(lambda x: F.pad(x[:, :, ::2], (0, 0, 5, 0)), 1), (3, 12))
    assert found.count("Conv") == 3
    assert not {"Pad", "Slice"} & set(found)


@pytest.mark.parametrize(
    "shortcut",
    [
        lambda x: F.pad(x[:, :, 1::2, 1::2], (0, 0, 0, 0, 2, 3)),
        lambda x: F.pad(x[:, 1:, ::2, ::2], (0, 0, 0, 0, 3, 3)),
    ],
    ids=["from-the-second-position", "without-the-first-channel"],
)
def test_a_slice_of_another_kind_stays(shortcut: Shortcut) -> None:
    assert "Slice" in operators(Widening(shortcut), (3, 8, 8))


@pytest.mark.parametrize(
    "shortcut",
    [
        lambda x: F.relu(F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 2, 3))),
        lambda x: F.pad(x[:, :, ::2, :6:2], (0, 1, 0, 0, 2, 3)),
    ],
    ids=["not-added-at-once", "zeros-beside-the-picture"],
)
def test_other_zeros_stay(shortcut: Shortcut) -> None:
    found = operators(Widening(shortcut), (3, 8, 8))
    assert {"Pad", "Slice"} <= set(found)
    assert found.count("Conv") == 2


def test_a_slice_that_is_read_elsewhere_stays_too() -> None:
    class Twice(Widening):
        def forward(self, x: Tensor) -> Tensor:
            x = F.relu(self.stem(x))
            thin = x[:, :, ::2, ::2]
            return self.conv(x) + F.pad(thin, (0, 0, 0, 0, 2, 3)) + thin.mean((1, 2, 3), keepdim=True)

    found = operators(Twice(lambda x: x), (3, 8, 8))
    assert found.count("Conv") == 3
    assert "Slice" in found
    assert "Pad" not in found


def test_stages_are_cut_apart() -> None:
    module = Widening(lambda x: F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 2, 3)))
    head = nn.Sequential(module, nn.ReLU(), nn.Conv2d(9, 2, 1))
    groups = find_groups(export_module(head.eval(), (3, 8, 8)))
    assert sorted(group.size for group in groups.groups) == [4, 9]
