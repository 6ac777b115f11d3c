"""Quantization parameters of activations: int8, asymmetric, one scale and zero point per tensor and rung."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from secateur.ir import ActivationParameters, Network, QuantizedWeight
from secateur.quantization.ranges import Ranges
from secateur.quantization.weights import rung_weight_scale

SAME_PARAMETERS = (
    *("MaxPool", "GlobalMaxPool", "Flatten", "Transpose", "Slice", "Pad"),
    *("Take", "Reshape", "Expand", "DepthToSpace", "SpaceToDepth"),
)
"""Operators that only move values: their output has the parameters of their input."""


def parameters(
    network: Network, ranges: Mapping[str, tuple[float, float]], symmetric: bool = False
) -> dict[str, ActivationParameters]:
    """Return the parameters of every tensor; those that operators only move values between have the same.

    Args:
        network: the rung.
        ranges: from `measure_ranges`.
        symmetric: whether zero is always 0.
    """
    owner = {name: name for name in ranges}
    for node in network.nodes:
        if node.op in SAME_PARAMETERS and node.inputs[0] in owner:
            owner[node.output] = owner[node.inputs[0]]
    joined: Ranges = {}
    for name, (low, high) in ranges.items():
        before = joined.get(owner[name], (0.0, 0.0))
        joined[owner[name]] = (min(before[0], low), max(before[1], high))
    of = _symmetric if symmetric else _parameters
    return {name: of(*joined[owner[name]]) for name in ranges}


def _parameters(low: float, high: float) -> ActivationParameters:
    scale = float(np.float32(max(high - low, 1e-8) / 255))
    zero_point = int(np.clip(np.rint(-128 - low / scale), -128, 127))
    return ActivationParameters(scale, zero_point)


def _symmetric(low: float, high: float) -> ActivationParameters:
    return ActivationParameters(float(np.float32(max(-low, high, 1e-8) / 127)), 0)


def weight_scales(
    network: Network,
    base: Mapping[str, QuantizedWeight],
    rows: Mapping[str, NDArray[np.int64]],
    activations: Mapping[str, ActivationParameters],
) -> dict[str, NDArray[np.float32]]:
    """Return the quantization scale of every weight of a rung that is int8 in the base.

    Args:
        network: the rung.
        base: the shared quantized weights.
        rows: weight → kept output channels.
        activations: of the rung, from `parameters`; empty if only weights are quantized.
    """
    affine = network.affines()
    found = {}
    for node in network.nodes:
        name = node.attrs.get("weight", "")
        if name in base:
            table = network.tables[affine[node.output].attrs["table"]]
            scale, before = base[name].scale[rows[name]], activations.get(node.inputs[0])
            found[name] = rung_weight_scale(scale, table.scale, table.shift, None if before is None else before.scale)
    return found
