"""Pools and other reductions; normalisation over positions."""

from __future__ import annotations

import numpy as np

from secateur.export.onnx_writer import OnnxWriter
from secateur.export.operators.registry import writes
from secateur.ir import Network, Node


@writes("GlobalAveragePool", "GlobalMaxPool")
def _global_pool(writer: OnnxWriter, network: Network, node: Node, inputs: list[str], output: str) -> str:
    return writer.node(node.op, inputs, output)


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


@writes("ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceL2")
def _reduction(writer: OnnxWriter, network: Network, node: Node, inputs: list[str], output: str) -> str:
    axes = writer.vector(np.asarray(node.attrs["axes"], np.int64))
    return writer.node(node.op, [*inputs, axes], output, keepdims=1)


@writes("InstanceNormalization")
def _instance_norm(writer: OnnxWriter, network: Network, node: Node, inputs: list[str], output: str) -> str:
    channels = network.shapes[node.output][1]
    plain = [writer.vector(np.ones(channels, np.float32)), writer.vector(np.zeros(channels, np.float32))]
    return writer.node("InstanceNormalization", [*inputs, *plain], output, epsilon=node.attrs["epsilon"])
