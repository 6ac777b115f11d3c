"""Pools."""

from __future__ import annotations

from secateur.export.onnx_writer import OnnxWriter
from secateur.export.operators.registry import writes
from secateur.ir import Network, Node


@writes("GlobalAveragePool")
def _global_average_pool(writer: OnnxWriter, network: Network, node: Node, inputs: list[str], output: str) -> str:
    return writer.node("GlobalAveragePool", inputs, output)


@writes("MaxPool", "AveragePool")
def _pool(writer: OnnxWriter, network: Network, node: Node, inputs: list[str], output: str) -> str:
    attrs, average = node.attrs, node.op == "AveragePool"
    extra = {"count_include_pad": attrs["count_include_pad"]} if average else {"dilations": list(attrs["dilations"])}
    return writer.node(
        node.op,
        inputs,
        output,
        kernel_shape=list(attrs["kernel_shape"]),
        strides=list(attrs["strides"]),
        pads=list(attrs["pads"]),
        ceil_mode=attrs["ceil_mode"],
        **extra,
    )
