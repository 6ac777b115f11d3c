"""Activations, sums and products; softmax."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce

import torch
import torch.nn.functional as F
from torch import Tensor

from secateur.twin.operators.registry import Attrs, operator


def _unary(name: str, function: Callable[[Tensor], Tensor]) -> None:
    operator(name)(lambda xs, attrs: function(xs[0]))


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
_unary("Softsign", F.softsign)
_unary("Mish", F.mish)


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


@operator("LogSoftmax")
def _log_softmax(xs: list[Tensor], attrs: Attrs) -> Tensor:
    return torch.log_softmax(xs[0], attrs["axis"])


@operator("Elu")
def _elu(xs: list[Tensor], attrs: Attrs) -> Tensor:
    return F.elu(xs[0], attrs.get("alpha", 1.0))


@operator("Selu")
def _selu(xs: list[Tensor], attrs: Attrs) -> Tensor:
    alpha, gamma = attrs.get("alpha", 1.67326319217681884765625), attrs.get("gamma", 1.05070102214813232421875)
    y: Tensor = gamma * F.elu(xs[0], alpha)
    return y


@operator("Celu")
def _celu(xs: list[Tensor], attrs: Attrs) -> Tensor:
    return F.celu(xs[0], attrs.get("alpha", 1.0))


@operator("ThresholdedRelu")
def _thresholded_relu(xs: list[Tensor], attrs: Attrs) -> Tensor:
    return torch.where(xs[0] > attrs.get("alpha", 1.0), xs[0], 0.0)


@operator("PRelu")
def _prelu(xs: list[Tensor], attrs: Attrs) -> Tensor:
    return torch.where(xs[0] < 0, xs[0] * xs[1], xs[0])


@operator("Pow")
def _pow(xs: list[Tensor], attrs: Attrs) -> Tensor:
    return torch.pow(xs[0], attrs["exponent"])


def _chain(name: str, function: Callable[[Tensor, Tensor], Tensor]) -> None:
    operator(name)(lambda xs, attrs: reduce(function, xs))


_chain("Add", torch.add)
_chain("Sub", torch.sub)
_chain("Mul", torch.mul)
_chain("Div", torch.div)
_chain("Min", torch.minimum)
_chain("Max", torch.maximum)


@operator("ScalarAffine")
def _scalar_affine(xs: list[Tensor], attrs: Attrs) -> Tensor:
    y: Tensor = xs[0] * attrs["scale"] + attrs["shift"]
    return y
