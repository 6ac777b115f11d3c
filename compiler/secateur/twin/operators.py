"""What each operator of the normal form computes, in torch; the semantics are those of ONNX opset 18."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

Attrs = Mapping[str, Any]
Operator = Callable[[list[Tensor], Attrs], Tensor]
OPERATORS: dict[str, Operator] = {}


def operator(*names: str) -> Callable[[Operator], Operator]:
    """Register a function as the meaning of these operators."""

    def register(function: Operator) -> Operator:
        OPERATORS.update(dict.fromkeys(names, function))
        return function

    return register


def _unary(name: str, function: Callable[[Tensor], Tensor]) -> None:
    OPERATORS[name] = lambda xs, attrs: function(xs[0])


_unary("Relu", F.relu)
_unary("Sigmoid", torch.sigmoid)
_unary("Tanh", torch.tanh)
_unary("HardSwish", F.hardswish)
_unary("Softplus", F.softplus)
_unary("Erf", torch.erf)
_unary("Exp", torch.exp)
_unary("Sqrt", torch.sqrt)
_unary("Neg", torch.neg)
_unary("Abs", torch.abs)


@operator("LeakyRelu")
def _leaky_relu(xs: list[Tensor], attrs: Attrs) -> Tensor:
    return F.leaky_relu(xs[0], attrs.get("alpha", 0.01))


@operator("HardSigmoid")
def _hard_sigmoid(xs: list[Tensor], attrs: Attrs) -> Tensor:
    return torch.clamp(attrs.get("alpha", 0.2) * xs[0] + attrs.get("beta", 0.5), 0, 1)


@operator("Clip")
def _clip(xs: list[Tensor], attrs: Attrs) -> Tensor:
    return torch.clamp(xs[0], attrs.get("min"), attrs.get("max"))


@operator("Softmax")
def _softmax(xs: list[Tensor], attrs: Attrs) -> Tensor:
    return torch.softmax(xs[0], attrs.get("axis", -1))


@operator("Add")
def _add(xs: list[Tensor], attrs: Attrs) -> Tensor:
    return xs[0] + xs[1]


@operator("Sub")
def _sub(xs: list[Tensor], attrs: Attrs) -> Tensor:
    return xs[0] - xs[1]


@operator("Mul")
def _mul(xs: list[Tensor], attrs: Attrs) -> Tensor:
    return xs[0] * xs[1]


@operator("ScalarAffine")
def _scalar_affine(xs: list[Tensor], attrs: Attrs) -> Tensor:
    y: Tensor = xs[0] * attrs["scale"] + attrs["shift"]
    return y


def conv(x: Tensor, weight: Tensor, attrs: Attrs) -> Tensor:
    """Convolution over one or two spatial axes; ``pads`` as in ONNX: all begins, then all ends."""
    spatial = weight.ndim - 2
    begins, ends = attrs["pads"][:spatial], attrs["pads"][spatial:]
    if begins == ends:
        padding = begins
    else:
        x, padding = F.pad(x, _torch_pads(begins, ends)), (0,) * spatial
    if attrs["groups"] == x.shape[1] > 1:
        return depthwise(x, weight, attrs["strides"], padding, attrs["dilations"])
    function = F.conv1d if spatial == 1 else F.conv2d
    y: Tensor = function(x, weight, None, attrs["strides"], padding, attrs["dilations"], attrs["groups"])
    return y


def depthwise(
    x: Tensor, weight: Tensor, strides: tuple[int, ...], padding: tuple[int, ...], dilations: tuple[int, ...]
) -> Tensor:
    """Depthwise convolution, in two dimensions and with channels last: two to three times faster in torch on a CPU."""
    flat = x.ndim == 3
    if flat:
        x, weight = x.unsqueeze(2), weight.unsqueeze(2)
        strides, padding, dilations = (1, *strides), (0, *padding), (1, *dilations)
    x = x.contiguous(memory_format=torch.channels_last)
    y = F.conv2d(x, weight, None, strides, padding, dilations, x.shape[1])
    return y.squeeze(2) if flat else y


def _torch_pads(begins: tuple[int, ...], ends: tuple[int, ...]) -> list[int]:
    return [pad for pair in zip(reversed(begins), reversed(ends)) for pad in pair]


@operator("MaxPool")
def _max_pool(xs: list[Tensor], attrs: Attrs) -> Tensor:
    kernel = attrs["kernel_shape"]
    spatial = len(kernel)
    begins, ends = attrs["pads"][:spatial], attrs["pads"][spatial:]
    x = F.pad(xs[0], _torch_pads(begins, ends), value=float("-inf")) if any(attrs["pads"]) else xs[0]
    function: Any = F.max_pool1d if spatial == 1 else F.max_pool2d
    y: Tensor = function(x, kernel, attrs["strides"], 0, attrs.get("dilations", (1,) * spatial), bool(attrs["ceil_mode"]))
    return y


@operator("AveragePool")
def _average_pool(xs: list[Tensor], attrs: Attrs) -> Tensor:
    kernel = attrs["kernel_shape"]
    spatial = len(kernel)
    begins, ends = attrs["pads"][:spatial], attrs["pads"][spatial:]
    x, padding, include = xs[0], begins, bool(attrs["count_include_pad"])
    if begins != ends:
        x, padding, include = F.pad(x, _torch_pads(begins, ends)), (0,) * spatial, True
    function: Any = F.avg_pool1d if spatial == 1 else F.avg_pool2d
    y: Tensor = function(x, kernel, attrs["strides"], padding, bool(attrs["ceil_mode"]), include)
    return y


@operator("GlobalAveragePool")
def _global_average_pool(xs: list[Tensor], attrs: Attrs) -> Tensor:
    return xs[0].mean(dim=tuple(range(2, xs[0].ndim)), keepdim=True)


@operator("Flatten")
def _flatten(xs: list[Tensor], attrs: Attrs) -> Tensor:
    return xs[0].flatten(1)


@operator("Transpose")
def _transpose(xs: list[Tensor], attrs: Attrs) -> Tensor:
    return xs[0].permute(attrs["perm"])


@operator("Pad")
def _pad(xs: list[Tensor], attrs: Attrs) -> Tensor:
    return F.pad(xs[0], _torch_pads(attrs["begins"], attrs["ends"]))


@operator("Slice")
def _slice(xs: list[Tensor], attrs: Attrs) -> Tensor:
    index = [slice(None)] * xs[0].ndim
    for axis, start, stop, step in zip(attrs["axes"], attrs["starts"], attrs["stops"], attrs["steps"]):
        index[axis] = slice(start, stop, step)
    return xs[0][tuple(index)]
