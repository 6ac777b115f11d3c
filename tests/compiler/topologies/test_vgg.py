"""VGG (Simonyan, Zisserman, 2014): plain convolutions, pools, fully connected layers over all positions."""

from __future__ import annotations

from tests.compiler.topologies.understood import check, enter
from torch import nn


def vgg() -> nn.Module:
    layers: list[nn.Module] = []
    before = 3
    for width in (8, 0, 12, 12, 0, 16, 16, 0):
        if width:
            layers += [nn.Conv2d(before, width, 3, 1, 1), nn.BatchNorm2d(width), nn.ReLU()]
            before = width
        else:
            layers.append(nn.MaxPool2d(2))
    head = [nn.Flatten(), nn.Linear(16 * 4, 24), nn.ReLU(), nn.Dropout(), nn.Linear(24, 5)]
    return nn.Sequential(*layers, *head)


def test_vgg() -> None:
    for network in enter(vgg(), (3, 16, 16)):
        check(network)
