"""Activations, sums and products; softmax."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from secateur.twin.operators.registry import OPERATORS, Attrs, operator


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
_unary("Log", torch.log)
_unary("Reciprocal", torch.reciprocal)


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


@operator("Div")
def _div(xs: list[Tensor], attrs: Attrs) -> Tensor:
    return xs[0] / xs[1]


@operator("Max")
def _max(xs: list[Tensor], attrs: Attrs) -> Tensor:
    return torch.maximum(xs[0], xs[1])


@operator("Min")
def _min(xs: list[Tensor], attrs: Attrs) -> Tensor:
    return torch.minimum(xs[0], xs[1])


@operator("ScalarAffine")
def _scalar_affine(xs: list[Tensor], attrs: Attrs) -> Tensor:
    y: Tensor = xs[0] * attrs["scale"] + attrs["shift"]
    return y
