"""An int8 rung in torch: its weights as the base has them, its tensors rounded where the file rounds them.

Jacob et al.: Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference, CVPR 2018.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet

import numpy as np
import torch
from torch import Tensor

from secateur.ir import ActivationParameters, Network, QuantizedWeight
from secateur.ir.network import Array
from secateur.ir.placement import Placement


def dequantized(base: Mapping[str, QuantizedWeight]) -> dict[str, Array]:
    """Return the float32 weights that int8 ones stand for, of the full network."""
    return {
        name: (weight.values * weight.scale.reshape(-1, *[1] * (weight.values.ndim - 1))).astype(np.float32)
        for name, weight in base.items()
    }


def rounded(x: Tensor, parameters: ActivationParameters) -> Tensor:
    """Return what eight bits make of a tensor; its gradient passes where nothing is clipped (Bengio et al., 2013).

    Args:
        x: float, any shape.
        parameters: scale and zero point.
    """
    scale, zero = parameters.scale, parameters.zero_point
    found: Tensor = torch.fake_quantize_per_tensor_affine(x, scale, zero, -128, 127)
    return found


def rounding(
    network: Network,
    layers: AbstractSet[str],
    parameters: Mapping[str, ActivationParameters],
    symmetric: bool = False,
    only: AbstractSet[str] | None = None,
) -> Callable[[str, Tensor], Tensor | None]:
    """Return what `secateur.twin.run` takes as ``on_tensor`` to round what an int8 file rounds.

    Args:
        network: the rung.
        layers: weights of the layers that compute in int8.
        parameters: of every tensor.
        symmetric: whether zero is always 0.
        only: of these tensors, those that are rounded; all if None.
    """
    tensors = Placement(network, layers, symmetric).tensors()
    chosen = tensors if only is None else tensors & only
    return lambda name, x: rounded(x, parameters[name]) if name in chosen else None
