"""ResNet (He et al., 2015), option A and B where the width doubles; pre-activation (He et al., 2016)."""

from __future__ import annotations

import torch.nn.functional as F
from tests.compiler.topologies.understood import check, check_int8, enter
from torch import Tensor, nn


class Block(nn.Module):
    """Two convolutions and a shortcut: A is a slice and zeros, B a convolution."""

    def __init__(self, before: int, width: int, stride: int, option: str) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(before, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = nn.Conv2d(width, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width)
        self.missing, self.stride = width - before, stride
        self.project = None
        if option == "B" and self.missing:
            self.project = nn.Sequential(nn.Conv2d(before, width, 1, stride, bias=False), nn.BatchNorm2d(width))

    def shortcut(self, x: Tensor) -> Tensor:
        if self.project is not None:
            return self.project(x)
        side = self.missing // 2
        return F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, side, side)) if self.missing else x

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x))))) + self.shortcut(x))


class PreActivation(Block):
    """Batch norm and ReLU come before the convolutions; the stream itself is never normalised."""

    def __init__(self, before: int, width: int, stride: int, option: str) -> None:
        super().__init__(before, width, stride, option)
        self.bn1 = nn.BatchNorm2d(before)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv1(F.relu(self.bn1(x)))
        return self.conv2(F.relu(self.bn2(y))) + self.shortcut(x)


class ResNet(nn.Module):
    def __init__(self, block: type[Block], option: str) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, 1, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU())
        self.stages = nn.Sequential(
            block(8, 8, 1, option), block(8, 16, 2, option), block(16, 16, 1, option), block(16, 24, 2, option)
        )
        self.head = nn.Linear(24, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(F.adaptive_avg_pool2d(self.stages(self.stem(x)), 1).flatten(1))


def test_resnet_option_a() -> None:
    for network in enter(ResNet(Block, "A"), (3, 16, 16)):
        check(network)
        check_int8(network)


def test_resnet_option_b() -> None:
    for network in enter(ResNet(Block, "B"), (3, 16, 16)):
        check(network)
        check_int8(network)


def test_preactivation_resnet() -> None:
    for network in enter(ResNet(PreActivation, "B"), (3, 16, 16)):
        check(network)
        check_int8(network)
