"""Products of computed tensors, recurrent layers."""

from __future__ import annotations

from math import prod

from secateur.ir import Node
from secateur.search.work.registry import Shapes, work


@work("MatMul")
def _matmul(node: Node, shapes: Shapes) -> int:
    return prod(shapes.output) * shapes.inputs[0][-1]


@work("GRU", "LSTM", "RNN")
def _recurrent(node: Node, shapes: Shapes) -> int:
    return shapes.inputs[0][0] * (prod(shapes.weights[0]) + prod(shapes.weights[1]))
