"""Operators that change the resolution."""

from __future__ import annotations

import torch
from torch import Tensor

from secateur.ir.resizing import coordinates, interpolation, nearest
from secateur.twin.operators.registry import Attrs, operator


@operator("Resize")
def _resize(xs: list[Tensor], attrs: Attrs) -> Tensor:
    y = xs[0]
    for axis, scale in enumerate(attrs["scales"]):
        if scale != 1:
            size = y.shape[axis]
            places = coordinates(size, scale, attrs["coordinate_transformation_mode"])
            if attrs["mode"] == "nearest":
                index = nearest(places, size, attrs["nearest_mode"])
                y = y.index_select(axis, torch.from_numpy(index).to(y.device))
            else:
                matrix = interpolation(places, size, attrs["mode"], attrs["cubic_coeff_a"])
                weights = torch.from_numpy(matrix).to(y.device, y.dtype)
                y = (y.transpose(axis, -1) @ weights.T).transpose(axis, -1)
    return y


@operator("DepthToSpace")
def _depth_to_space(xs: list[Tensor], attrs: Attrs) -> Tensor:
    block, (batch, depth, height, width) = attrs["blocksize"], xs[0].shape
    depth //= block**2
    if attrs["mode"] == "DCR":
        parts = xs[0].reshape(batch, block, block, depth, height, width).permute(0, 3, 4, 1, 5, 2)
    else:
        parts = xs[0].reshape(batch, depth, block, block, height, width).permute(0, 1, 4, 2, 5, 3)
    return parts.reshape(batch, depth, height * block, width * block)


@operator("SpaceToDepth")
def _space_to_depth(xs: list[Tensor], attrs: Attrs) -> Tensor:
    block, (batch, depth, height, width) = attrs["blocksize"], xs[0].shape
    parts = xs[0].reshape(batch, depth, height // block, block, width // block, block).permute(0, 3, 5, 1, 2, 4)
    return parts.reshape(batch, depth * block**2, height // block, width // block)
