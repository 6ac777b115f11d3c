"""Networks of known sizes with random weights, compiled into ladders of five int8 rungs: bytes do not depend on training."""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from secateur.bundle.keys import Keys, create_keys, load_keys
from secateur.bundle.reader import BundleFolder
from secateur.load import Task
from secateur.pipeline import CompileSettings, compile

from .case import say

PROFILE, PHONE = "linux-x86-64", "android-phone"
"""Whose rungs are ONNX files, and TFLite files."""
RUNGS = 5
SPREAD = 1.0
RESNET, MOBILENET = "resnet20", "mobilenetv2"
TITLES = {
    RESNET: "ResNet-20 (0.27 M parameters, 32×32), random weights",
    MOBILENET: "MobileNetV2 (3.4 M parameters, 96×96), random weights",
}


class _BasicBlock(nn.Module):
    def __init__(self, width_in: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(width_in, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = nn.Conv2d(width, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width)
        self.shortcut = (
            nn.Sequential(nn.Conv2d(width_in, width, 1, stride, bias=False), nn.BatchNorm2d(width)) if stride > 1 else None
        )

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(y + (x if self.shortcut is None else self.shortcut(x)))


class ResNet20(nn.Module):
    """He et al., Deep residual learning, 2015, section 4.2, for 32×32 inputs, with convolutional shortcuts."""

    def __init__(self, classes: int = 10) -> None:
        super().__init__()
        self.stem, self.bn = nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16)
        blocks, width_in = [], 16
        for width in (16, 32, 64):
            for number in range(3):
                blocks.append(_BasicBlock(width_in, width, 2 if width != width_in and not number else 1))
                width_in = width
        self.blocks = nn.Sequential(*blocks)
        self.head = nn.Linear(64, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (batch, class)."""
        return self.head(self.blocks(F.relu(self.bn(self.stem(x)))).mean((2, 3)))  # type: ignore[no-any-return]


class _Inverted(nn.Module):
    def __init__(self, width_in: int, width: int, stride: int, expansion: int) -> None:
        super().__init__()
        wide = width_in * expansion
        self.adds = stride == 1 and width_in == width
        layers: list[nn.Module] = []
        if expansion > 1:
            layers += [nn.Conv2d(width_in, wide, 1, bias=False), nn.BatchNorm2d(wide), nn.ReLU6()]
        layers += [nn.Conv2d(wide, wide, 3, stride, 1, groups=wide, bias=False), nn.BatchNorm2d(wide), nn.ReLU6()]
        layers += [nn.Conv2d(wide, width, 1, bias=False), nn.BatchNorm2d(width)]
        self.body = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        y = self.body(x)
        return x + y if self.adds else y  # type: ignore[no-any-return]


class MobileNetV2(nn.Module):
    """Sandler et al., MobileNetV2, 2018, table 2, width 1.0."""

    def __init__(self, classes: int = 1000) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 32, 3, 2, 1, bias=False), nn.BatchNorm2d(32), nn.ReLU6())
        blocks, width_in = [], 32
        for expansion, width, repeats, stride in (
            (1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1),
        ):  # fmt: skip
            for number in range(repeats):
                blocks.append(_Inverted(width_in, width, stride if not number else 1, expansion))
                width_in = width
        self.blocks = nn.Sequential(*blocks)
        self.last = nn.Sequential(nn.Conv2d(320, 1280, 1, bias=False), nn.BatchNorm2d(1280), nn.ReLU6())
        self.head = nn.Linear(1280, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (batch, class)."""
        return self.head(self.last(self.blocks(self.stem(x))).mean((2, 3)))  # type: ignore[no-any-return]


class RandomImages:
    """An unlabeled task: smooth random images, so that a network with random weights tells them apart."""

    def __init__(self, side: int, counts: dict[str, int]) -> None:
        random = np.random.default_rng(0)
        self._splits: dict[str, NDArray[np.float32]] = {}
        for split, count in counts.items():
            coarse = torch.from_numpy(random.standard_normal((count, 3, 4, 4)).astype(np.float32))
            smooth = F.interpolate(coarse, (side, side), mode="bilinear", align_corners=False)
            noise = 0.3 * torch.from_numpy(random.standard_normal((count, 3, side, side)).astype(np.float32))
            self._splits[split] = (smooth + noise).numpy()

    def batches(self, split: str) -> Iterable[tuple[NDArray[np.float32], None]]:
        """Return the split as one batch without labels."""
        return [(self._splits[split], None)]


_MAKERS: dict[str, tuple[type[nn.Module], int, dict[str, int]]] = {
    RESNET: (ResNet20, 32, {"train": 512, "calibration": 512, "validation": 1000, "test": 16}),
    MOBILENET: (MobileNetV2, 96, {"train": 128, "calibration": 128, "validation": 128, "test": 16}),
}


def images(name: str) -> RandomImages:
    """Return the task of one of the networks."""
    _, side, counts = _MAKERS[name]
    return RandomImages(side, counts)


def shared_keys(work: Path) -> Keys:
    """Return the signing keys of this run, made by the first case that needs them."""
    folder = work / "keys"
    return load_keys(folder) if folder.exists() else create_keys(folder)


def compiled(name: str, work: Path, board: str = PROFILE) -> BundleFolder:
    """Return the bundle of a network for a profile, compiled by the first case of this run that needs it.

    Its workspace is beside it.
    """
    keys = shared_keys(work)
    path = work / f"{name}-{board}" / f"{name}-{board}.bundle"
    if not path.exists():
        began = time.monotonic()
        module, task = warmed_network(name), Task(images(name), name)
        # Every planned rung is wanted, whichever of them are slow on this machine.
        settings = CompileSettings(rungs=RUNGS, steps=0, precisions=("int8",), verify_latency=False)
        result = compile(module, task, [board], path.parent, name, keys, settings)
        dropped = result.profiles[0].dropped
        say(f"{TITLES[name]}: compiled in {time.monotonic() - began:.0f} s" + (f"; dropped {dropped}" if dropped else ""))
    return BundleFolder(path, keys.root)


def warmed_network(name: str) -> nn.Module:
    """Random weights, but as in a trained network channels differ in importance, and batch norms know their data.

    With channels all alike, every narrow rung would be equally bad, and a device would have no reason to ask for a better
    one. Layers of one width share their importances, for residual additions tie their channels.
    """
    torch.manual_seed(0)
    maker, _, _ = _MAKERS[name]
    module = maker()
    before: nn.Module | None = None
    with torch.no_grad():
        for layer in module.modules():
            if isinstance(layer, nn.BatchNorm2d) and isinstance(before, nn.Conv2d):
                width = layer.num_features
                normal = torch.randn(width, generator=torch.Generator().manual_seed(width))
                importance = (SPREAD * normal).exp().clamp(max=2.0)
                before.weight *= importance.reshape(-1, 1, 1, 1)
                layer.weight.copy_(importance)
                layer.bias.copy_(0.1 * importance * torch.randn(width))
                layer.momentum = None  # a plain mean over the batches
            if isinstance(layer, (nn.Conv2d, nn.BatchNorm2d)):
                before = layer
        # Ten strong classes: which of a thousand random ones is the largest would be chance in every rung.
        head = module.get_submodule("head").get_parameter("weight")
        head[10:] *= 0.05
        (batch, _), *_ = images(name).batches("train")
        module.train()
        for start in range(0, 128, 32):
            module(torch.from_numpy(batch[start : start + 32]))
    return module.eval()
