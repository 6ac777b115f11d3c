"""CIFAR-10 images and a trained ResNet-20, from the folder that ``SECATEUR_BENCH_DATA`` names.

It holds ``cifar10_lossless_train4000_test1000.npz`` (``x_train`` uint8 (4000, 32, 32, 3), ``y_train``, ``x_test``,
``y_test``) and ``resnet20-12fca82f.th``, the weights of github.com/akamaster/pytorch_resnet_cifar10;
docs/benchmarks-data.md says how to make it.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from ..case import NoDataError

VARIABLE = "SECATEUR_BENCH_DATA"
MEAN, DEVIATION = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
TRAIN, VALIDATION = 3500, 500

Array = NDArray[np.float32]


def folder() -> Path:
    """Return the folder of the data.

    Raises:
        NoDataError: if the variable does not name one.
    """
    path = Path(os.environ.get(VARIABLE, ""))
    if not os.environ.get(VARIABLE) or not path.is_dir():
        raise NoDataError(f"set {VARIABLE} to the folder with CIFAR-10 and ResNet-20 (docs/benchmarks-data.md)")
    return path


class _Block(nn.Module):
    def __init__(self, width_in: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(width_in, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = nn.Conv2d(width, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width)
        self.narrow = width_in != width

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        if self.narrow:
            pad = (y.shape[1] - x.shape[1]) // 2
            x = F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, pad, pad))
        return F.relu(y + x)


class ResNet20(nn.Module):
    """He et al., Deep residual learning, 2015, section 4.2, with shortcuts of option A."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16)
        self.layer1 = nn.Sequential(*[_Block(16, 16, 1) for _ in range(3)])
        self.layer2 = nn.Sequential(_Block(16, 32, 2), _Block(32, 32, 1), _Block(32, 32, 1))
        self.layer3 = nn.Sequential(_Block(32, 64, 2), _Block(64, 64, 1), _Block(64, 64, 1))
        self.linear = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (batch, 10)."""
        x = self.layer3(self.layer2(self.layer1(F.relu(self.bn1(self.conv1(x))))))
        return self.linear(x.mean((2, 3)))  # type: ignore[no-any-return]


class _ConvolvedBlock(nn.Module):
    """A block whose padded shortcut is a 1 × 1 convolution that computes the same."""

    def __init__(self, block: _Block) -> None:
        super().__init__()
        self.conv1, self.bn1, self.conv2, self.bn2 = (
            copy.deepcopy(m) for m in (block.conv1, block.bn1, block.conv2, block.bn2)
        )
        narrow, wide = self.conv1.in_channels, self.conv2.out_channels
        self.shortcut: nn.Module = nn.Identity()
        if narrow != wide:
            self.shortcut = nn.Conv2d(narrow, wide, 1, 2, bias=False)
            with torch.no_grad():
                self.shortcut.weight.zero_()
                for channel in range(narrow):
                    self.shortcut.weight[(wide - narrow) // 2 + channel, channel] = 1.0

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x))))) + self.shortcut(x))


class Convolved(nn.Module):
    """The same network with shortcuts that are convolutions, for tools that do not cut behind padding."""

    def __init__(self, network: ResNet20) -> None:
        super().__init__()
        self.conv1, self.bn1, self.linear = (copy.deepcopy(m) for m in (network.conv1, network.bn1, network.linear))
        layers = (network.layer1, network.layer2, network.layer3)
        self.layers = nn.Sequential(*[_ConvolvedBlock(block) for layer in layers for block in layer])

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (batch, 10)."""
        return self.linear(self.layers(F.relu(self.bn1(self.conv1(x)))).mean((2, 3)))  # type: ignore[no-any-return]


def trained() -> ResNet20:
    """Return the trained network."""
    state = torch.load(folder() / "resnet20-12fca82f.th", map_location="cpu", weights_only=True)["state_dict"]
    network = ResNet20()
    network.load_state_dict({name.removeprefix("module."): value for name, value in state.items()})
    return network.eval()


class Cifar:
    """The task: ``train`` of 3,500 images, ``calibration`` 200 of them, ``validation`` 500 others, ``test`` 1,000."""

    def __init__(self, augment_copies: int = 1) -> None:
        found = np.load(folder() / "cifar10_lossless_train4000_test1000.npz")
        x, y = _normalised(found["x_train"]), found["y_train"].astype(np.int64)
        self._splits = {
            "train": _augmented(x[:TRAIN], y[:TRAIN], augment_copies),
            "calibration": (x[:200], y[:200]),
            "validation": (x[TRAIN:], y[TRAIN:]),
            "test": (_normalised(found["x_test"]), found["y_test"].astype(np.int64)),
        }

    def batches(self, split: str) -> Iterable[tuple[Array, NDArray[np.int64]]]:
        """Return the split as one batch."""
        return [self._splits[split]]

    @staticmethod
    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        """Cross-entropy."""
        return F.cross_entropy(outputs, targets)


def _normalised(images: NDArray[np.uint8]) -> Array:
    scaled = (images.astype(np.float32) / 255 - MEAN.astype(np.float32)) / DEVIATION.astype(np.float32)
    return np.ascontiguousarray(scaled.transpose(0, 3, 1, 2), np.float32)


def _augmented(x: Array, y: NDArray[np.int64], copies: int) -> tuple[Array, NDArray[np.int64]]:
    """Flip and shift by up to four pixels, as He et al. do; the first copy is plain."""
    random = np.random.default_rng(0)
    made = [x]
    for _ in range(copies - 1):
        padded = np.pad(x, ((0, 0), (0, 0), (4, 4), (4, 4)))
        dx, dy, flip = random.integers(0, 9, len(x)), random.integers(0, 9, len(x)), random.random(len(x)) < 0.5
        cropped = [image[:, a : a + 32, b : b + 32] for image, a, b in zip(padded, dx, dy)]
        made.append(np.stack([c[:, :, ::-1] if f else c for c, f in zip(cropped, flip)]))
    return np.concatenate(made), np.tile(y, copies)
