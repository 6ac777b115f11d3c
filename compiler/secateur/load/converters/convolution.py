"""Convolutions and batch normalisation."""

from __future__ import annotations

import numpy as np

from secateur.load.builder import Converting
from secateur.load.converters.registry import converter
from secateur.load.converters.spatial import spatial, transposed


@converter("Conv")
def _conv(node: Converting) -> None:
    weight = node.constant(1)
    if weight is None:
        raise node.fail("its weight must be constant")
    if weight.ndim not in (3, 4):
        raise node.fail(f"only one and two spatial axes are supported, this has {weight.ndim - 2}")
    bias = node.constant(2)
    window = spatial(node, weight.shape[2:])
    middle = node.output + ":conv"
    node.emit("Conv", None, middle, weight=node.weight(weight), groups=node.attrs.get("group", 1), **window)
    channels = weight.shape[0]
    shift = np.zeros(channels) if bias is None else bias
    node.emit("Affine", [middle], table=node.table(np.ones(channels), shift), axis=1)


@converter("ConvTranspose")
def _conv_transpose(node: Converting) -> None:
    """ONNX has its weight as (in, out / groups, kernel…), the normal form as (out, in / groups, kernel…)."""
    weight, bias = node.constant(1), node.constant(2)
    if weight is None or (node.has(2) and bias is None):
        raise node.fail("its weight and bias must be constant")
    if weight.ndim not in (3, 4):
        raise node.fail(f"only one and two spatial axes are supported, this has {weight.ndim - 2}")
    groups, width = node.attrs.get("group", 1), weight.shape[0]
    if groups not in (1, width):
        raise node.fail(f"{groups} groups are not supported, only 1 or as many as input channels ({width})")
    channels = weight.shape[1] * groups
    value = weight.swapaxes(0, 1) if groups == 1 else weight.reshape(channels, 1, *weight.shape[2:])
    middle = node.output + ":conv"
    window = transposed(node, weight.shape[2:])
    node.emit("ConvTranspose", None, middle, weight=node.weight(value), groups=groups, **window)
    shift = np.zeros(channels) if bias is None else bias
    node.emit("Affine", [middle], table=node.table(np.ones(channels), shift), axis=1)


@converter("BatchNormalization")
def _batch_norm(node: Converting) -> None:
    gamma, beta, mean, variance = (node.constant(index) for index in (1, 2, 3, 4))
    if gamma is None or beta is None or mean is None or variance is None:
        raise node.fail("its parameters must be constant")
    spread = variance.astype(np.float64) + node.attrs.get("epsilon", 1e-5)
    if not (spread > 0).all():
        raise node.fail("its variance is negative")
    scale = gamma.astype(np.float64) / np.sqrt(spread)
    node.emit("Affine", table=node.table(scale, beta - mean * scale), axis=1)
