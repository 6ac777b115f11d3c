"""Recurrent layers, in ONNX's layout 0: ONNX Runtime has no other."""

from __future__ import annotations

from secateur.export.onnx_writer import OnnxWriter
from secateur.export.operators.registry import writes
from secateur.ir import Network, Node

_OUTPUTS = {"Y": (0, [2, 0, 1, 3]), "Y_h": (1, [1, 0, 2]), "Y_c": (2, [1, 0, 2])}
"""Number of the output, and how its axes become batch first."""


@writes("GRU", "LSTM", "RNN")
def _recurrent(writer: OnnxWriter, network: Network, node: Node, inputs: list[str], output: str) -> str:
    computed, constants = inputs[: len(node.inputs)], inputs[len(node.inputs) :]
    moved = [writer.node("Transpose", [name], perm=[1, 0, 2]) for name in computed]
    bias = constants[2:] or [""]
    number, perm = _OUTPUTS[node.attrs["emit"]]
    attrs: dict[str, object] = {"hidden_size": node.attrs["hidden_size"], "direction": node.attrs["direction"]}
    if node.op == "GRU":
        attrs["linear_before_reset"] = node.attrs["linear_before_reset"]
    given = [moved[0], *constants[:2], *bias] + (["", *moved[1:]] if len(moved) > 1 else [])
    result = writer.nth_output(number, node.op, given, **attrs)
    return writer.node("Transpose", [result], output, perm=perm)
