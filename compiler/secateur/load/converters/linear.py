"""Fully connected layers."""

from __future__ import annotations

import numpy as np

from secateur.load.builder import Constant, Converting
from secateur.load.converters.registry import converter


def _linear(node: Converting, weight: Constant, bias: Constant | None) -> None:
    """A fully connected layer; ``weight`` is (out, in)."""
    middle = node.output + ":linear"
    node.emit("Linear", None, middle, weight=node.weight(weight))
    shift = np.zeros(weight.shape[0]) if bias is None else np.broadcast_to(bias.ravel(), weight.shape[0])
    node.emit("Affine", [middle], table=node.table(np.ones(weight.shape[0]), shift), axis=len(node.shape()) - 1)


@converter("Gemm")
def _gemm(node: Converting) -> None:
    weight, bias = node.constant(1), node.constant(2)
    if weight is None or (node.has(2) and bias is None) or node.attrs.get("transA", 0):
        raise node.fail("only x·W + b with constant W and b is supported")
    weight = weight * node.attrs.get("alpha", 1.0)
    if bias is not None:
        bias = bias * node.attrs.get("beta", 1.0)
    _linear(node, weight if node.attrs.get("transB", 0) else weight.T, bias)


@converter("MatMul")
def _matmul(node: Converting) -> None:
    weight = node.constant(1)
    if weight is None or weight.ndim != 2:
        raise node.fail("only a product with a constant matrix on the right is supported")
    _linear(node, weight.T, None)
