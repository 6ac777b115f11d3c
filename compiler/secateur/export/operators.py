"""The operators without weights that both exporters write in the same way."""

from __future__ import annotations

import numpy as np

from secateur.export.onnx_writer import OnnxWriter
from secateur.ir import Network, Node

_PLAIN = (
    "Relu", "Sigmoid", "Tanh", "HardSwish", "Softplus", "Erf", "Exp", "Sqrt", "Neg", "Abs", "Add", "Sub", "Mul",
    "GlobalAveragePool",
)  # fmt: skip


def write_operator(writer: OnnxWriter, network: Network, node: Node, inputs: list[str], output: str = "") -> str:
    """Write one node that has neither weight nor table and return its output."""
    attrs = node.attrs
    if node.op in _PLAIN:
        return writer.node(node.op, inputs, output)
    if node.op in ("LeakyRelu", "HardSigmoid", "Softmax"):
        return writer.node(node.op, inputs, output, **attrs)
    if node.op == "Flatten":
        return writer.node("Flatten", inputs, output, axis=1)
    if node.op == "Transpose":
        return writer.node("Transpose", inputs, output, perm=list(attrs["perm"]))
    if node.op == "Clip":
        bounds = [writer.vector(np.float32(attrs[k])) if attrs.get(k) is not None else "" for k in ("min", "max")]
        return writer.node("Clip", [*inputs, *bounds], output)
    if node.op in ("MaxPool", "AveragePool"):
        average = node.op == "AveragePool"
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
    if node.op == "Pad":
        return writer.node("Pad", [*inputs, writer.vector(np.asarray(attrs["begins"] + attrs["ends"], np.int64))], output)
    if node.op == "Slice":
        columns = [writer.vector(np.asarray(attrs[k], np.int64)) for k in ("starts", "stops", "axes", "steps")]
        return writer.node("Slice", [*inputs, *columns], output)
    if node.op == "ScalarAffine":
        scaled = writer.node("Mul", [*inputs, writer.vector(np.float32(attrs["scale"]))])
        return writer.node("Add", [scaled, writer.vector(np.float32(attrs["shift"]))], output)
    raise NotImplementedError(node.op)


def channel_shape(network: Network, node: Node) -> list[int]:
    """Return the shape in which a per-channel vector broadcasts over the output of an ``Affine`` node."""
    shape = network.shapes[node.output]
    return [shape[node.attrs["axis"]]] + [1] * (len(shape) - 1 - node.attrs["axis"])


def conv_attributes(node: Node) -> dict[str, list[int]]:
    """Return the attributes of a convolution that do not differ between rungs."""
    return {key: list(node.attrs[key]) for key in ("strides", "pads", "dilations")}
