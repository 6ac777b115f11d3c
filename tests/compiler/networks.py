"""Small networks of every topology that the compiler must handle, with warmed batch norms of both signs.

Random weights, a few thousand parameters; `TOPOLOGIES` maps a name to (module, shape of one input).
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable
from functools import cache

import msgspec
import numpy as np
import onnx
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from secateur.ir import Network
from secateur.load import load_onnx
from secateur_profiles import Profile
from secateur_profiles import load as load_profile

torch.set_num_threads(1)

Shape = tuple[int, ...]


class Smartwatch(nn.Module):
    """1-D depthwise separable network, like the demonstration's."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv1d(3, 16, 5, 2, 2, bias=False)
        self.bn = nn.BatchNorm1d(16)
        self.depthwise = nn.Conv1d(16, 16, 5, 1, 2, groups=16, bias=False)
        self.bn1 = nn.BatchNorm1d(16)
        self.pointwise = nn.Conv1d(16, 32, 1, bias=False)
        self.bn2 = nn.BatchNorm1d(32)
        self.head = nn.Linear(32, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.bn(self.stem(x)))
        x = F.relu(self.bn2(self.pointwise(F.relu(self.bn1(self.depthwise(x))))))
        return self.head(x.mean(2))


class Residual(nn.Module):
    """Two basic blocks as in ResNet-20; where the width doubles, shortcut A (slice and pad) or B (convolution).

    A has a ReLU that changes nothing behind its zeros: without it, loading would make a convolution of it too.
    """

    def __init__(self, shortcut: str) -> None:
        super().__init__()
        self.stem, self.bn = nn.Conv2d(3, 8, 3, 1, 1, bias=False), nn.BatchNorm2d(8)
        self.conv1, self.bn1 = nn.Conv2d(8, 8, 3, 1, 1, bias=False), nn.BatchNorm2d(8)
        self.conv2, self.bn2 = nn.Conv2d(8, 8, 3, 1, 1, bias=False), nn.BatchNorm2d(8)
        self.conv3, self.bn3 = nn.Conv2d(8, 16, 3, 2, 1, bias=False), nn.BatchNorm2d(16)
        self.conv4, self.bn4 = nn.Conv2d(16, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16)
        self.shortcut = nn.Sequential(nn.Conv2d(8, 16, 1, 2, bias=False), nn.BatchNorm2d(16)) if shortcut == "B" else None
        self.head = nn.Linear(16, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.bn(self.stem(x)))
        x = F.relu(x + self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x))))))
        y = self.bn4(self.conv4(F.relu(self.bn3(self.conv3(x)))))
        short = F.relu(F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 4, 4))) if self.shortcut is None else self.shortcut(x)
        return self.head(F.relu(y + short).mean((2, 3)))


class _Inverted(nn.Module):
    def __init__(self, width_in: int, width_out: int, stride: int) -> None:
        super().__init__()
        wide = 4 * width_in
        self.add = stride == 1 and width_in == width_out
        self.body = nn.Sequential(
            nn.Conv2d(width_in, wide, 1, bias=False),
            nn.BatchNorm2d(wide),
            nn.ReLU6(),
            nn.Conv2d(wide, wide, 3, stride, 1, groups=wide, bias=False),
            nn.BatchNorm2d(wide),
            nn.ReLU6(),
            nn.Conv2d(wide, width_out, 1, bias=False),
            nn.BatchNorm2d(width_out),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x) if self.add else self.body(x)


class Mobile(nn.Module):
    """Inverted residuals with ReLU6, as in MobileNetV2."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU6())
        self.blocks = nn.Sequential(_Inverted(8, 8, 1), _Inverted(8, 16, 2), _Inverted(16, 16, 1))
        self.last = nn.Sequential(nn.Conv2d(16, 32, 1, bias=False), nn.BatchNorm2d(32), nn.ReLU6())
        self.head = nn.Linear(32, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(F.adaptive_avg_pool2d(self.last(self.blocks(self.stem(x))), 1).flatten(1))


class _PreActivated(nn.Module):
    def __init__(self, width_in: int, width_out: int) -> None:
        super().__init__()
        stride = 1 if width_in == width_out else 2
        self.bn1, self.conv1 = nn.BatchNorm2d(width_in), nn.Conv2d(width_in, width_out, 3, stride, 1, bias=False)
        self.bn2, self.conv2 = nn.BatchNorm2d(width_out), nn.Conv2d(width_out, width_out, 3, 1, 1, bias=False)
        self.projection = nn.Conv2d(width_in, width_out, 1, stride, bias=False) if stride == 2 else None

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn1(x))
        short = x if self.projection is None else self.projection(y)
        return short + self.conv2(F.relu(self.bn2(self.conv1(y))))


class PreActivation(nn.Module):
    """Residual blocks whose sums nothing follows: neighbours share a stream; where the width grows, a projection."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, 1, 1, bias=False)
        self.blocks = nn.Sequential(*(_PreActivated(i, o) for i, o in ((8, 8), (8, 8), (8, 12), (12, 12))))
        self.bn, self.head = nn.BatchNorm2d(12), nn.Linear(12, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(F.relu(self.bn(self.blocks(self.stem(x)))).mean((2, 3)))


class Plain(nn.Module):
    """Like VGG: convolutions with bias, pools, then a fully connected layer over channel × height × width."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 8, 3, 1, 1), nn.Conv2d(8, 12, 3, 1, 1)
        self.bn = nn.BatchNorm2d(12)
        self.fc1, self.fc2 = nn.Linear(12 * 2 * 2, 24), nn.Linear(24, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = F.max_pool2d(F.relu(self.bn(self.conv2(x))), 2)
        return self.fc2(F.relu(self.fc1(x.flatten(1))))


def perceptron() -> nn.Module:
    """Three fully connected layers."""
    return nn.Sequential(nn.Linear(10, 24), nn.BatchNorm1d(24), nn.ReLU(), nn.Linear(24, 16), nn.ReLU(), nn.Linear(16, 3))


class Mixed(nn.Module):
    """Operators that the other topologies lack: batch norm behind an addition, odd activations and pools, 3-D products."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv1d(2, 12, 3, 1, 1), nn.Conv1d(2, 12, 3, 1, 1)
        self.bn = nn.BatchNorm1d(12)
        self.pool = nn.MaxPool1d(2, 2, dilation=2, padding=1)
        self.conv3 = nn.Conv1d(12, 16, 3, padding=1)
        self.mix, self.head = nn.Linear(16, 24), nn.Linear(24, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = F.leaky_relu(self.bn(self.conv1(x) + F.hardswish(self.conv2(x))), 0.2)
        x = F.avg_pool1d(torch.sigmoid(self.conv3(self.pool(x))) * 2 - 1, 3, 1, 1)
        x = torch.tanh(self.mix(x.transpose(1, 2)))
        return F.softmax(self.head(x.transpose(1, 2).mean(2)), 1)


class Multiplier(nn.Module):
    """A depthwise convolution that makes three channels of each."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.depthwise = nn.Conv2d(1, 4, 1), nn.Conv2d(4, 12, 3, groups=4)
        self.last = nn.Conv2d(12, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(F.relu(self.depthwise(self.first(x))))


class Halves(nn.Module):
    """Two halves of the channels are added: channel c is tied to channel c + 4."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Conv2d(1, 8, 3), nn.Conv2d(4, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.first(x))
        return self.last(x[:, :4] + x[:, 4:])


MAKERS: dict[str, tuple[Callable[[], nn.Module], Shape]] = {
    "smartwatch": (Smartwatch, (3, 32)),
    "resnet-a": (lambda: Residual("A"), (3, 8, 8)),
    "resnet-b": (lambda: Residual("B"), (3, 8, 8)),
    "mobilenet": (Mobile, (3, 16, 16)),
    "preactivation": (PreActivation, (3, 8, 8)),
    "vgg": (Plain, (1, 8, 8)),
    "mlp": (perceptron, (10,)),
    "mixed": (Mixed, (2, 20)),
}
TOPOLOGIES = list(MAKERS)


def warmed(module: nn.Module, shape: Shape, seed: int = 0) -> nn.Module:
    """Give batch norms gammas of both signs and running statistics of random data; return the module in eval mode."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for layer in module.modules():
            if isinstance(layer, (nn.BatchNorm1d, nn.BatchNorm2d)):
                layer.weight.copy_(torch.rand(layer.weight.shape, generator=generator) + 0.5)
                layer.weight[::3] *= -1
                layer.bias.copy_(0.3 * torch.randn(layer.bias.shape, generator=generator))
                layer.momentum = 0.3
        module.train()
        for _ in range(20):
            module(torch.randn((32, *shape), generator=generator))
    return module.eval()


def make(name: str, seed: int = 0) -> tuple[nn.Module, Shape]:
    """Return a module of one topology and the shape of one input."""
    maker, shape = MAKERS[name]
    torch.manual_seed(seed)
    return warmed(maker(), shape, seed), shape


@cache
def module_of(name: str) -> nn.Module:
    """Return the module of one topology; made once."""
    return make(name)[0]


@cache
def network_of(name: str, folded: bool = False) -> Network:
    """Return a topology in normal form, from a file with batch norms or one with folded ones; made once.

    The old exporter writes the file: it takes a hundredth of the new one's time, which `test_torch_model` covers.
    """
    return load_onnx(export_onnx(module_of(name), MAKERS[name][1], folded))


def normal_form(module: nn.Module, shape: Shape) -> Network:
    """Warm a module of a test's own and bring it to normal form."""
    return load_onnx(export_onnx(warmed(module, shape), shape, folded=False))


@cache
def folded_onnx(name: str) -> onnx.ModelProto:
    """Export a topology with batch norms folded into convolutions; made once."""
    return export_onnx(module_of(name), MAKERS[name][1], folded=True)


def export_onnx(module: nn.Module, shape: Shape, folded: bool) -> onnx.ModelProto:
    """Export a module with the old exporter, which folds batch norms of a module in eval mode unless told not to."""
    buffer = io.BytesIO()
    axes = {"input": {0: "batch"}, "output": {0: "batch"}}
    mode = torch.onnx.TrainingMode.EVAL if folded else torch.onnx.TrainingMode.PRESERVE
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module.eval(),
            (torch.zeros((2, *shape)),),
            buffer,
            dynamo=False,
            training=mode,
            input_names=["input"],
            output_names=["output"],
            dynamic_axes=axes,
        )
    return onnx.load_from_string(buffer.getvalue())


def export_folded_dynamo(module: nn.Module, shape: Shape) -> onnx.ModelProto:
    """Export a module with the new exporter and its default optimisations, which fold batch norms."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            module.eval(),
            (torch.zeros((2, *shape)),),
            dynamo=True,
            optimize=True,
            input_names=["input"],
            dynamic_shapes=({0: torch.export.Dim("batch")},),
            verbose=False,
        )
    assert program is not None
    return program.model_proto


def board() -> Profile:
    """Return a Raspberry Pi whose operators have next to no fixed cost, so that cutting tiny networks saves time too."""
    profile = load_profile("raspberry-pi-4b")
    cpu = msgspec.structs.replace(profile.cpu, op_overhead_us=0.01)
    return msgspec.structs.replace(profile, cpu=cpu)


def samples(shape: Shape, count: int, seed: int = 0) -> NDArray[np.float32]:
    """Return random inputs."""
    return np.random.default_rng(seed).normal(size=(count, *shape)).astype(np.float32)
