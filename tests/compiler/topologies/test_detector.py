"""Detectors like SSD (Liu et al., 2016) and YOLO (Redmon, Farhadi, 2018): several outputs at several resolutions."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from tests.compiler.topologies.understood import check, enter
from torch import Tensor, nn


def convolution(before: int, width: int, stride: int = 1) -> nn.Module:
    return nn.Sequential(nn.Conv2d(before, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width), nn.SiLU())


class Detector(nn.Module):
    """Two resolutions, a path from the coarse to the fine one, classes and boxes of each."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.fine, self.coarse = convolution(3, 8, 2), convolution(8, 12), convolution(12, 16, 2)
        self.lateral, self.joined = nn.Conv2d(16, 8, 1), convolution(20, 12)
        self.heads = nn.ModuleList([nn.Conv2d(12, 6, 1), nn.Conv2d(12, 4, 1), nn.Conv2d(16, 6, 1), nn.Conv2d(16, 4, 1)])

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        fine = self.fine(self.stem(x))
        coarse = self.coarse(fine)
        fine = self.joined(torch.cat((F.interpolate(self.lateral(coarse), scale_factor=2), fine), 1))
        return (
            self.heads[0](fine).sigmoid(),
            self.heads[1](fine).flatten(1),
            self.heads[2](coarse).permute(0, 2, 3, 1),
            self.heads[3](coarse),
        )


def test_detector() -> None:
    for network in enter(Detector(), (3, 16, 16)):
        assert len(network.outputs) == 4
        groups = check(network)
        for name, shape in network.outputs.items():
            assert not {(f"tensor:{name}", axis) for axis in range(1, len(shape))} & set(groups.axes()), "outputs are frozen"
        heads = [node.source for node in network.nodes if node.source.startswith("heads")]
        for head in heads:
            assert "output" in groups.barriers[head]
