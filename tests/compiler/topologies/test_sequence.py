"""One-dimensional networks: a plain one, a TCN (Bai, Kolter, Koltun, 2018), and adaptive average pools."""

from __future__ import annotations

import torch.nn.functional as F
from tests.compiler.topologies.understood import check, check_int8, enter
from torch import Tensor, nn


class Waves(nn.Module):
    """For sensors: depthwise separable convolutions, max and mean over time."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.bn = nn.Conv1d(3, 12, 5, 2, 2, bias=False), nn.BatchNorm1d(12)
        self.depthwise, self.bn1 = nn.Conv1d(12, 12, 5, 1, 2, groups=12, bias=False), nn.BatchNorm1d(12)
        self.pointwise, self.bn2 = nn.Conv1d(12, 16, 1, bias=False), nn.BatchNorm1d(16)
        self.head = nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.bn1(self.depthwise(F.relu(self.bn(self.stem(x))))))
        x = F.elu(self.bn2(self.pointwise(F.max_pool1d(x, 2))))
        return self.head(x.amax(2) + x.mean(2))


class Causal(nn.Module):
    """A residual block of a TCN: zeros before, none behind, dilated."""

    def __init__(self, before: int, width: int, dilation: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv1d(before, width, 3, padding=2 * dilation, dilation=dilation)
        self.conv2 = nn.Conv1d(width, width, 3, dilation=dilation)
        self.bn = nn.BatchNorm1d(width)
        self.shortcut = nn.Conv1d(before, width, 1) if before != width else nn.Identity()
        self.beyond = 2 * dilation

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn(self.conv1(x)[:, :, : -self.beyond]))
        return F.relu(self.conv2(F.pad(y, (self.beyond, 0))) + self.shortcut(x))


class Tcn(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(Causal(2, 12, 1), Causal(12, 12, 2), Causal(12, 16, 4))
        self.head = nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        return F.log_softmax(self.head(self.body(x)[:, :, -1]), 1)


def adaptive() -> nn.Module:
    body = [nn.Conv1d(2, 12, 5), nn.BatchNorm1d(12), nn.ReLU(), nn.AdaptiveAvgPool1d(8), nn.Conv1d(12, 16, 3), nn.GELU()]
    return nn.Sequential(*body, nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(16, 5))


def test_one_dimensional_network() -> None:
    for network in enter(Waves(), (3, 24)):
        check(network)


def test_tcn() -> None:
    for network in enter(Tcn(), (2, 24)):
        check(network)
        check_int8(network)


def test_adaptive_average_pools_in_one_dimension() -> None:
    for network in enter(adaptive(), (2, 20)):
        check(network)
