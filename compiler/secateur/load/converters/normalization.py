"""Normalisation of each sample by itself: layer, group and instance norm; scale and shift become private tables."""

from __future__ import annotations

import numpy as np

from secateur.load.builder import Constant, Converting
from secateur.load.converters.registry import converter
from secateur.load.views import Arranged


def _scaled(node: Converting, x: Arranged, tensor: str, axis: int, scale: Constant, shift: Constant | None) -> None:
    table = node.table(scale, np.zeros_like(scale) if shift is None else shift)
    node.put_back(x, node.emit("Affine", [tensor], node.fresh(x), table=table, axis=axis))


@converter("LayerNormalization")
def _layer_norm(node: Converting) -> None:
    scale, shift = node.constant(1), node.constant(2)
    if scale is None or (node.has(2) and shift is None):
        raise node.fail("its scale and shift must be constant")
    x, rank = node.arranged(), len(node.shape())
    axes = [x.axes[axis] for axis in range(node.attrs.get("axis", -1) % rank, rank)]
    if len(axes) != 1 or axes[0] is None:
        raise node.fail("only a norm over the last axis is supported")
    epsilon = float(node.attrs.get("epsilon", 1e-5))
    middle = node.emit("LayerNormalization", [x.tensor], node.output + ":norm", axis=axes[0], epsilon=epsilon)
    _scaled(node, x, middle, axes[0], scale.ravel(), None if shift is None else shift.ravel())


@converter("InstanceNormalization")
def _instance_norm(node: Converting) -> None:
    scale, shift = node.constant(1), node.constant(2)
    if scale is None or shift is None:
        raise node.fail("its scale and shift must be constant")
    x = node.arranged()
    if not x.is_plain:
        raise node.fail("the batch must be the first axis")
    if len(x.shape) < 3:
        raise node.fail("it needs positions to normalise over")
    epsilon = float(node.attrs.get("epsilon", 1e-5))
    middle = node.emit("InstanceNormalization", [x.tensor], node.output + ":norm", epsilon=epsilon)
    _scaled(node, x, middle, 1, scale, shift)
