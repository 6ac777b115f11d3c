"""U-Net (Ronneberger et al., 2015): an encoder, transposed convolutions, and skips that are joined."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from tests.compiler.topologies.understood import check, check_int8, enter
from torch import Tensor, nn


def double(before: int, width: int) -> nn.Module:
    first = [nn.Conv2d(before, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
    return nn.Sequential(*first, nn.Conv2d(width, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU())


class UNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.down1, self.down2, self.bottom = double(1, 8), double(8, 12), double(12, 16)
        self.rise2, self.up2 = nn.ConvTranspose2d(16, 12, 2, 2), double(24, 12)
        self.rise1, self.up1 = nn.ConvTranspose2d(12, 8, 3, 2, 1, output_padding=1), double(16, 8)
        self.head = nn.Conv2d(8, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        one = self.down1(x)
        two = self.down2(F.max_pool2d(one, 2))
        x = self.bottom(F.max_pool2d(two, 2))
        x = self.up2(torch.cat((two, self.rise2(x)), 1))
        return self.head(self.up1(torch.cat((self.rise1(x), one), 1)))


class Bilinear(nn.Module):
    """Resized instead of transposed, as in many later ones; skips are added."""

    def __init__(self, mode: str) -> None:
        super().__init__()
        self.mode = mode
        self.down, self.bottom, self.up = double(1, 8), double(8, 8), double(8, 8)
        self.head = nn.Conv2d(8, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        one = self.down(x)
        align = None if self.mode == "nearest" else False
        low = F.interpolate(self.bottom(F.max_pool2d(one, 2)), scale_factor=2, mode=self.mode, align_corners=align)
        return self.head(self.up(one + low))


def test_unet() -> None:
    for network in enter(UNet(), (1, 16, 16)):
        assert [node.op for node in network.nodes].count("ConvTranspose") == 2
        check(network)
        check_int8(network)


@pytest.mark.parametrize("mode", ["nearest", "bilinear", "bicubic"])
def test_unet_that_resizes(mode: str) -> None:
    for network in enter(Bilinear(mode), (1, 8, 8)):
        check(network)
