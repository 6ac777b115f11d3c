"""Operators that put elements of an axis together or pick them."""

from __future__ import annotations

import numpy as np

from secateur.export.onnx_writer import OnnxWriter
from secateur.export.operators.registry import writes
from secateur.ir import Network, Node


@writes("Concat")
def _concat(writer: OnnxWriter, network: Network, node: Node, inputs: list[str], output: str) -> str:
    return writer.node("Concat", inputs, output, axis=node.attrs["axis"])


@writes("Take")
def _take(writer: OnnxWriter, network: Network, node: Node, inputs: list[str], output: str) -> str:
    index = writer.vector(np.asarray(node.attrs["index"], np.int64))
    return writer.node("Gather", [*inputs, index], output, axis=node.attrs["axis"])


@writes("Expand")
def _expand(writer: OnnxWriter, network: Network, node: Node, inputs: list[str], output: str) -> str:
    return writer.node("Expand", [*inputs, writer.vector(np.asarray(node.attrs["shape"], np.int64))], output)
