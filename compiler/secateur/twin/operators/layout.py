"""Operators that move elements."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from secateur.twin.operators.convolution import torch_pads
from secateur.twin.operators.registry import Attrs, operator


@operator("Flatten")
def _flatten(xs: list[Tensor], attrs: Attrs) -> Tensor:
    return xs[0].flatten(1)


@operator("Transpose")
def _transpose(xs: list[Tensor], attrs: Attrs) -> Tensor:
    return xs[0].permute(attrs["perm"])


@operator("Pad")
def _pad(xs: list[Tensor], attrs: Attrs) -> Tensor:
    return F.pad(xs[0], torch_pads(attrs["begins"], attrs["ends"]))


@operator("ReflectPad")
def _reflect_pad(xs: list[Tensor], attrs: Attrs) -> Tensor:
    flat = xs[0].reshape(1, -1, xs[0].shape[-1])
    padded = F.pad(flat, (attrs["begin"], attrs["end"]), mode="reflect")
    return padded.reshape(*xs[0].shape[:-1], padded.shape[-1])


@operator("Slice")
def _slice(xs: list[Tensor], attrs: Attrs) -> Tensor:
    index = [slice(None)] * xs[0].ndim
    for axis, start, stop, step in zip(attrs["axes"], attrs["starts"], attrs["stops"], attrs["steps"]):
        index[axis] = slice(start, stop, step)
    return xs[0][tuple(index)]


@operator("Concat")
def _concat(xs: list[Tensor], attrs: Attrs) -> Tensor:
    return torch.cat(xs, attrs["axis"])


@operator("Take")
def _take(xs: list[Tensor], attrs: Attrs) -> Tensor:
    return xs[0].index_select(attrs["axis"], torch.tensor(attrs["index"], device=xs[0].device))


@operator("Expand")
def _expand(xs: list[Tensor], attrs: Attrs) -> Tensor:
    return xs[0].expand([size if size > 1 else -1 for size in attrs["shape"]])
