"""Convolutions and fully connected layers."""

from __future__ import annotations

from math import prod

from secateur.ir import Node
from secateur.search.work.registry import Shapes, work


@work("Conv")
def _convolution(node: Node, shapes: Shapes) -> int:
    return prod(shapes.weights[0]) * prod(shapes.output[1:])


@work("Linear")
def _linear(node: Node, shapes: Shapes) -> int:
    return prod(shapes.weights[0]) * prod(shapes.output[:-1])


@work("ConvTranspose")
def _transposed_convolution(node: Node, shapes: Shapes) -> int:
    return prod(shapes.weights[0]) * prod(shapes.inputs[0][1:])
