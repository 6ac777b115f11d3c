"""Products of computed tensors, reshapes, layer norm, embeddings, constants for each sample, masks."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from secateur.twin.operators.registry import Attrs, operator


@operator("MatMul")
def _matmul(xs: list[Tensor], attrs: Attrs) -> Tensor:
    return torch.matmul(xs[0], xs[1])


@operator("Reshape")
def _reshape(xs: list[Tensor], attrs: Attrs) -> Tensor:
    return xs[0].reshape(len(xs[0]), *attrs["shape"][1:])


@operator("LayerNormalization")
def _layer_norm(xs: list[Tensor], attrs: Attrs) -> Tensor:
    x, axis = xs[0], attrs["axis"]
    centred = x - x.mean(axis, keepdim=True)
    y: Tensor = centred * torch.rsqrt((centred**2).mean(axis, keepdim=True) + attrs["epsilon"])
    return y


@operator("Gelu")
def _gelu(xs: list[Tensor], attrs: Attrs) -> Tensor:
    return F.gelu(xs[0], approximate=attrs["approximate"])


@operator("Embedding")
def _embedding(xs: list[Tensor], attrs: Attrs) -> Tensor:
    return F.embedding(xs[0], xs[1])


@operator("PerSample")
def _per_sample(xs: list[Tensor], attrs: Attrs) -> Tensor:
    return xs[1].expand(len(xs[0]), *xs[1].shape[1:])


@operator("Where")
def _where(xs: list[Tensor], attrs: Attrs) -> Tensor:
    computed = attrs["computed"]
    rest = iter(xs[len(computed) :])
    chosen = dict(zip(computed, xs))
    condition, x, y = (chosen[letter] if letter in chosen else next(rest) for letter in "cxy")
    return torch.where(condition.bool(), x, y)


@operator("Not")
def _not(xs: list[Tensor], attrs: Attrs) -> Tensor:
    return torch.logical_not(xs[0])


def _comparison(name: str, function: Callable[[Tensor, Tensor | float], Tensor]) -> None:
    operator(name)(lambda xs, attrs: function(xs[0], xs[1] if len(xs) > 1 else attrs["value"]))


_comparison("Equal", torch.eq)
_comparison("Greater", torch.gt)
_comparison("GreaterOrEqual", torch.ge)
_comparison("Less", torch.lt)
_comparison("LessOrEqual", torch.le)
