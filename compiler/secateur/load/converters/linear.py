"""Fully connected layers and products of two computed tensors."""

from __future__ import annotations

import numpy as np

from secateur.load.builder import Constant, Converting
from secateur.load.converters.registry import converter


def _linear(node: Converting, weight: Constant, bias: Constant | None) -> None:
    """A fully connected layer; ``weight`` is (out, in)."""
    x = node.arranged()
    if not x.axes or x.axes[-1] != len(x.shape) - 1 or x.shape[-1] != weight.shape[1]:
        raise node.fail(f"shapes disagree: {node.shape()[1:]} by a weight for {weight.shape[1]} features")
    middle = node.emit("Linear", [x.tensor], node.output + ":linear", weight=node.weight(weight))
    shift = np.zeros(weight.shape[0]) if bias is None else np.broadcast_to(bias.ravel(), weight.shape[0])
    table = node.table(np.ones(weight.shape[0]), shift)
    node.put_back(x, node.emit("Affine", [middle], node.fresh(x), table=table, axis=len(x.shape) - 1))


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
    if weight is not None and weight.ndim == 2:
        _linear(node, weight.T, None)
        return
    if weight is not None or node.constant(0) is not None:
        raise node.fail("of products with a constant only those with a matrix on the right are supported")
    a, b = node.arranged(0), node.arranged(1)
    same = len(a.shape) == len(b.shape) > 2 and a.shape[:-2] == b.shape[:-2] and a.order[:-2] == b.order[:-2]
    if not same or None in (*a.axes[-2:], *b.axes[-2:]) or a.shape[-1] != b.shape[-2]:
        raise node.fail(f"a product of tensors of shapes {node.shape(0)[1:]} and {node.shape(1)[1:]} is not supported")
    node.emit_like("MatMul", a, [b.tensor])
