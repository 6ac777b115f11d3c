"""ShuffleNet V2 (Ma et al., 2018): channels split, joined and shuffled."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from tests.compiler.topologies.understood import check, check_int8, enter
from torch import Tensor, nn


def shuffle(x: Tensor, groups: int) -> Tensor:
    batch, channels, height, width = x.shape
    return (
        x.view(batch, groups, channels // groups, height, width).transpose(1, 2).contiguous().view(batch, -1, height, width)
    )


def branch(before: int, width: int, stride: int) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(before, width, 1, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(),
        nn.Conv2d(width, width, 3, stride, 1, groups=width, bias=False),
        nn.BatchNorm2d(width),
        nn.Conv2d(width, width, 1, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(),
    )


class Unit(nn.Module):
    """Half of the channels pass, half are worked on; a unit that halves the resolution works on all, twice."""

    def __init__(self, before: int, width: int, stride: int) -> None:
        super().__init__()
        self.right = branch(before if stride > 1 else width // 2, width // 2, stride)
        self.left = None
        if stride > 1:
            self.left = nn.Sequential(
                nn.Conv2d(before, before, 3, stride, 1, groups=before, bias=False),
                nn.BatchNorm2d(before),
                nn.Conv2d(before, width // 2, 1, bias=False),
                nn.BatchNorm2d(width // 2),
                nn.ReLU(),
            )

    def forward(self, x: Tensor) -> Tensor:
        left, right = x.chunk(2, dim=1) if self.left is None else (self.left(x), x)
        return shuffle(torch.cat((left, self.right(right)), 1), 2)


class ShuffleNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, 1, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU())
        self.stages = nn.Sequential(Unit(8, 24, 2), Unit(24, 24, 1), Unit(24, 24, 1))
        self.head = nn.Linear(24, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(F.relu(self.stages(self.stem(x))).mean((2, 3)))


def test_shufflenet_v2() -> None:
    for network in enter(ShuffleNet(), (3, 12, 12)):
        assert {"Take", "Slice", "Concat"} <= {node.op for node in network.nodes}
        check(network)
        check_int8(network)
