"""ResNeXt (Xie et al., 2017): grouped convolutions, whose groups are cut alike."""

from __future__ import annotations

import torch.nn.functional as F
from tests.compiler.topologies.understood import check, check_int8, enter
from torch import Tensor, nn


class Bottleneck(nn.Module):
    def __init__(self, before: int, wide: int, width: int, groups: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(before, wide, 1, bias=False),
            nn.BatchNorm2d(wide),
            nn.ReLU(),
            nn.Conv2d(wide, wide, 3, stride, 1, groups=groups, bias=False),
            nn.BatchNorm2d(wide),
            nn.ReLU(),
            nn.Conv2d(wide, width, 1, bias=False),
            nn.BatchNorm2d(width),
        )
        self.shortcut = nn.Sequential(nn.Conv2d(before, width, 1, stride, bias=False), nn.BatchNorm2d(width))

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.body(x) + self.shortcut(x))


def resnext() -> nn.Module:
    blocks = [Bottleneck(8, 16, 12, 4, 1), Bottleneck(12, 24, 16, 3, 2)]
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, 1, 1), nn.ReLU(), *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 5)
    )


def test_resnext() -> None:
    for network in enter(resnext(), (3, 12, 12)):
        groups = check(network)
        check_int8(network)
        grouped = [node for node in network.nodes if node.op == "Conv" and node.attrs["groups"] > 1]
        inside = {
            group.size
            for group in groups.groups
            for node in grouped
            if (f"weight:{node.attrs['weight']}", 1) in group.members
        }
        assert inside == {4, 8}, "the channels of one group of each grouped convolution"
