"""Pools and other reductions; normalisation over positions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from secateur.twin.operators.convolution import torch_pads
from secateur.twin.operators.registry import Attrs, operator


@operator("MaxPool")
def _max_pool(xs: list[Tensor], attrs: Attrs) -> Tensor:
    kernel = attrs["kernel_shape"]
    spatial = len(kernel)
    begins, ends = attrs["pads"][:spatial], attrs["pads"][spatial:]
    x = F.pad(xs[0], torch_pads(begins, ends), value=float("-inf")) if any(attrs["pads"]) else xs[0]
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
        x, padding, include = F.pad(x, torch_pads(begins, ends)), (0,) * spatial, True
    function: Any = F.avg_pool1d if spatial == 1 else F.avg_pool2d
    y: Tensor = function(x, kernel, attrs["strides"], padding, bool(attrs["ceil_mode"]), include)
    return y


@operator("GlobalAveragePool")
def _global_average_pool(xs: list[Tensor], attrs: Attrs) -> Tensor:
    return xs[0].mean(dim=tuple(range(2, xs[0].ndim)), keepdim=True)


@operator("GlobalMaxPool")
def _global_max_pool(xs: list[Tensor], attrs: Attrs) -> Tensor:
    return xs[0].amax(dim=tuple(range(2, xs[0].ndim)), keepdim=True)


def _reduction(name: str, function: Callable[..., Tensor]) -> None:
    operator(name)(lambda xs, attrs: function(xs[0], dim=attrs["axes"], keepdim=True))


_reduction("ReduceMean", torch.mean)
_reduction("ReduceSum", torch.sum)
_reduction("ReduceMax", torch.amax)
_reduction("ReduceMin", torch.amin)
_reduction("ReduceL2", torch.linalg.vector_norm)


@operator("InstanceNormalization")
def _instance_norm(xs: list[Tensor], attrs: Attrs) -> Tensor:
    axes = tuple(range(2, xs[0].ndim))
    centred = xs[0] - xs[0].mean(axes, keepdim=True)
    y: Tensor = centred * torch.rsqrt((centred**2).mean(axes, keepdim=True) + attrs["epsilon"])
    return y
