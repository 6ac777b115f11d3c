"""MobileNet V1 (Howard, 2017), V2 (Sandler, 2018) and V3 (Howard, 2019): depthwise, inverted, squeeze and excite."""

from __future__ import annotations

import torch.nn.functional as F
from tests.compiler.topologies.understood import check, check_int8, enter
from torch import Tensor, nn


def convolution(
    before: int, width: int, kernel: int, stride: int = 1, groups: int = 1, act: type | None = nn.ReLU
) -> nn.Module:
    layers = [nn.Conv2d(before, width, kernel, stride, kernel // 2, groups=groups, bias=False), nn.BatchNorm2d(width)]
    return nn.Sequential(*layers, *([act()] if act else []))


def separable(before: int, width: int, stride: int) -> nn.Module:
    return nn.Sequential(convolution(before, before, 3, stride, before), convolution(before, width, 1))


class SqueezeExcite(nn.Module):
    """Hu, Shen, Sun: Squeeze-and-Excitation Networks, CVPR 2018."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.reduce, self.expand = nn.Conv2d(width, width // 4, 1), nn.Conv2d(width // 4, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x * F.hardsigmoid(self.expand(F.relu(self.reduce(F.adaptive_avg_pool2d(x, 1)))))


class Inverted(nn.Module):
    def __init__(self, before: int, width: int, stride: int, act: type, squeeze: bool = False) -> None:
        super().__init__()
        wide = 4 * before
        self.add = stride == 1 and before == width
        self.body = nn.Sequential(
            convolution(before, wide, 1, act=act),
            convolution(wide, wide, 3, stride, wide, act),
            *([SqueezeExcite(wide)] if squeeze else []),
            convolution(wide, width, 1, act=None),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x) if self.add else self.body(x)


def mobilenet_v1() -> nn.Module:
    body = [convolution(3, 8, 3, 2), separable(8, 16, 1), separable(16, 24, 2), separable(24, 24, 1)]
    return nn.Sequential(*body, nn.AvgPool2d(4), nn.Flatten(), nn.Linear(24, 5))


def mobilenet_v2() -> nn.Module:
    blocks = [Inverted(8, 8, 1, nn.ReLU6), Inverted(8, 16, 2, nn.ReLU6), Inverted(16, 16, 1, nn.ReLU6)]
    ends = [convolution(16, 32, 1, act=nn.ReLU6), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 5)]
    return nn.Sequential(convolution(3, 8, 3, 2, act=nn.ReLU6), *blocks, *ends)


def mobilenet_v3() -> nn.Module:
    act = nn.Hardswish
    blocks = [Inverted(8, 8, 1, nn.ReLU, True), Inverted(8, 16, 2, act, True), Inverted(16, 16, 1, act, True)]
    ends = [
        convolution(16, 32, 1, act=act),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(32, 24),
        act(),
        nn.Linear(24, 5),
    ]
    return nn.Sequential(convolution(3, 8, 3, 2, act=act), *blocks, *ends)


def test_mobilenet_v1() -> None:
    for network in enter(mobilenet_v1(), (3, 16, 16)):
        check(network)


def test_mobilenet_v2() -> None:
    for network in enter(mobilenet_v2(), (3, 16, 16)):
        check(network)


def test_mobilenet_v3() -> None:
    for network in enter(mobilenet_v3(), (3, 16, 16)):
        check(network)
        check_int8(network)
