"""Operators that move elements."""

from __future__ import annotations

import numpy as np

from secateur.export.onnx_writer import OnnxWriter
from secateur.export.operators.registry import writes
from secateur.ir import Network, Node


@writes("Flatten")
def _flatten(writer: OnnxWriter, network: Network, node: Node, inputs: list[str], output: str) -> str:
    return writer.node("Flatten", inputs, output, axis=1)


@writes("Transpose")
def _transpose(writer: OnnxWriter, network: Network, node: Node, inputs: list[str], output: str) -> str:
    return writer.node("Transpose", inputs, output, perm=list(node.attrs["perm"]))


@writes("Pad")
def _pad(writer: OnnxWriter, network: Network, node: Node, inputs: list[str], output: str) -> str:
    pads = np.asarray(node.attrs["begins"] + node.attrs["ends"], np.int64)
    return writer.node("Pad", [*inputs, writer.vector(pads)], output)


@writes("ReflectPad")
def _reflect_pad(writer: OnnxWriter, network: Network, node: Node, inputs: list[str], output: str) -> str:
    before = [0] * (len(network.shapes[node.output]) - 1)
    pads = np.asarray([*before, node.attrs["begin"], *before, node.attrs["end"]], np.int64)
    return writer.node("Pad", [*inputs, writer.vector(pads)], output, mode="reflect")


@writes("Slice")
def _slice(writer: OnnxWriter, network: Network, node: Node, inputs: list[str], output: str) -> str:
    columns = [writer.vector(np.asarray(node.attrs[k], np.int64)) for k in ("starts", "stops", "axes", "steps")]
    return writer.node("Slice", [*inputs, *columns], output)
