"""Operators that change the resolution."""

from __future__ import annotations

import numpy as np

from secateur.export.onnx_writer import OnnxWriter
from secateur.export.operators.registry import writes
from secateur.ir import Network, Node


@writes("Resize")
def _resize(writer: OnnxWriter, network: Network, node: Node, inputs: list[str], output: str) -> str:
    attrs = {key: value for key, value in node.attrs.items() if key != "scales"}
    scales = writer.vector(np.asarray(node.attrs["scales"], np.float32))
    return writer.node("Resize", [*inputs, "", scales], output, **attrs)


@writes("DepthToSpace", "SpaceToDepth")
def _shuffle(writer: OnnxWriter, network: Network, node: Node, inputs: list[str], output: str) -> str:
    return writer.node(node.op, inputs, output, **node.attrs)
