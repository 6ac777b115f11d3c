"""DenseNet (Huang et al., 2017): every layer reads the outputs of all layers before it."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from tests.compiler.topologies.understood import check, enter
from torch import Tensor, nn


class Dense(nn.Module):
    def __init__(self, before: int, growth: int) -> None:
        super().__init__()
        self.bn1, self.conv1 = nn.BatchNorm2d(before), nn.Conv2d(before, 4 * growth, 1, bias=False)
        self.bn2, self.conv2 = nn.BatchNorm2d(4 * growth), nn.Conv2d(4 * growth, growth, 3, 1, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv2(F.relu(self.bn2(self.conv1(F.relu(self.bn1(x))))))
        return torch.cat((x, y), 1)


def densenet() -> nn.Module:
    stem = [nn.Conv2d(3, 8, 3, 1, 1, bias=False), Dense(8, 6), Dense(14, 6)]
    between = [nn.BatchNorm2d(20), nn.ReLU(), nn.Conv2d(20, 10, 1, bias=False), nn.AvgPool2d(2)]
    ends = [Dense(10, 6), Dense(16, 6), nn.BatchNorm2d(22), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return nn.Sequential(*stem, *between, *ends, nn.Linear(22, 5))


def test_densenet() -> None:
    for network in enter(densenet(), (3, 12, 12)):
        check(network)
