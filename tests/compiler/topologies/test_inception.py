"""Inception (Szegedy et al., 2015): parallel branches of unlike kernels, joined along the channels."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from tests.compiler.topologies.understood import check, enter
from torch import Tensor, nn


def convolution(before: int, width: int, kernel: tuple[int, int]) -> nn.Module:
    padding = (kernel[0] // 2, kernel[1] // 2)
    return nn.Sequential(nn.Conv2d(before, width, kernel, 1, padding, bias=False), nn.BatchNorm2d(width), nn.ReLU())


class Branches(nn.Module):
    def __init__(self, before: int) -> None:
        super().__init__()
        self.one = convolution(before, 6, (1, 1))
        self.three = nn.Sequential(convolution(before, 6, (1, 1)), convolution(6, 8, (1, 3)), convolution(8, 8, (3, 1)))
        self.five = nn.Sequential(convolution(before, 4, (1, 1)), convolution(4, 6, (5, 5)))
        self.pooled = convolution(before, 4, (1, 1))

    def forward(self, x: Tensor) -> Tensor:
        pooled = self.pooled(F.avg_pool2d(x, 3, 1, 1))
        return torch.cat((self.one(x), self.three(x), self.five(x), pooled, F.max_pool2d(x, 3, 1, 1)), 1)


def inception() -> nn.Module:
    stem = [convolution(3, 8, (3, 3)), Branches(8), nn.MaxPool2d(3, 2, 1), Branches(32)]
    return nn.Sequential(*stem, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(56, 5))


def test_inception() -> None:
    for network in enter(inception(), (3, 12, 12)):
        check(network)
