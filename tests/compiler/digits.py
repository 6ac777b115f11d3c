"""A small network trained on scikit-learn's handwritten digits, and its task: fast, real, with something to lose."""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from tests.compiler.networks import Plain, export_onnx
from torch import Tensor, nn

from secateur.ir import Network
from secateur.load import ArrayTask, Task, load_onnx

SHAPE = (1, 8, 8)


class Digits(nn.Module):
    """Three convolutions with batch norm."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for width_in, width_out, stride in ((1, 16, 1), (16, 32, 2), (32, 32, 1)):
            layers += [nn.Conv2d(width_in, width_out, 3, stride, 1, bias=False), nn.BatchNorm2d(width_out), nn.ReLU()]
        self.features = nn.Sequential(*layers)
        self.head = nn.Linear(32, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x).mean((2, 3)))


class ResidualDigits(nn.Module):
    """A stem and four basic blocks of one width."""

    def __init__(self, width: int = 16, depth: int = 4) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, width, 3, 2, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU())
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(width, width, 3, 1, 1, bias=False),
                nn.BatchNorm2d(width),
                nn.ReLU(),
                nn.Conv2d(width, width, 3, 1, 1, bias=False),
                nn.BatchNorm2d(width),
            )
            for _ in range(depth)
        )
        self.head = nn.Linear(width, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for block in self.blocks:
            x = F.relu(x + block(x))
        return self.head(x.mean((2, 3)))


@cache
def arrays() -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int64], NDArray[np.int64]]:
    """Return x_train, x_test, y_train, y_test."""
    found = load_digits()
    x = (found.images[:, None] / 8 - 1).astype(np.float32)
    order = np.random.default_rng(0).permutation(len(x))
    train, test = order[:1300], order[1300:]
    return x[train], x[test], found.target[train].astype(np.int64), found.target[test].astype(np.int64)


@cache
def task() -> Task:
    """Return the labelled task."""
    x_train, x_test, y_train, y_test = arrays()
    return Task(ArrayTask(x_train, x_test, y_train, y_test), "digits")


@cache
def trained(flat: bool = False, seed: int = 0) -> nn.Module:
    """Return the network after a few epochs; ``flat`` is the one with a fully connected layer over all positions."""
    torch.manual_seed(seed)
    return _fitted(Plain() if flat else Digits())


@cache
def trained_residual() -> nn.Module:
    """Return the residual network after a few epochs."""
    torch.manual_seed(0)
    return _fitted(ResidualDigits())


def _fitted(module: nn.Module) -> nn.Module:
    x, y = torch.from_numpy(arrays()[0]), torch.from_numpy(arrays()[2])
    epochs = 6
    optimiser = torch.optim.Adam(module.parameters(), lr=5e-3)
    for _ in range(epochs):
        order = torch.randperm(len(x))
        for start in range(0, len(x) - 63, 64):
            chosen = order[start : start + 64]
            optimiser.zero_grad()
            F.cross_entropy(module(x[chosen]), y[chosen]).backward()
            optimiser.step()
    return module.eval()


@cache
def network(folded: bool = False) -> Network:
    """Return the trained network in normal form."""
    return load_onnx(export_onnx(trained(), SHAPE, folded))


@cache
def residual_network() -> Network:
    """Return the trained residual network in normal form."""
    return load_onnx(export_onnx(trained_residual(), SHAPE, folded=False))
