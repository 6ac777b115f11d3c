"""Builds small networks in normal form, operator by operator, with random weights."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np

from secateur.ir import Network, Node, Signature, Table
from secateur.ir.network import Array


class Draft:
    """A network under construction; tensors are named by number."""

    def __init__(self, seed: int = 0) -> None:
        self._random = np.random.default_rng(seed)
        self._network = Network({}, {}, [], {}, {}, {})

    def input(self, shape: Sequence[int]) -> str:
        """Set the input's shape, without the batch, and return its name."""
        self._network.inputs["x"] = self._network.shapes["x"] = (-1, *shape)
        return "x"

    def finish(self, output: str) -> Network:
        """Return the network that computes a tensor."""
        self._network.outputs[output] = self._network.shapes[output]
        return self._network

    def apply(self, signature: Signature, inputs: Sequence[str], channels_out: int) -> str:
        """Add an operator with what the normal form puts behind it; return the output.

        Args:
            signature: of the operator.
            inputs: tensors.
            channels_out: its width.
        """
        if signature.op == "Linear":
            y = self._linear(signature, inputs[0], channels_out)
        elif signature.op == "Conv":
            y = self._convolution(signature, inputs[0], channels_out)
        else:
            y = self._plain(signature, inputs, channels_out)
        if signature.activation == "Relu":
            return self._node(Node("Relu", (y,), self._name()), self._network.shapes[y])
        if signature.activation == "Clip":
            return self._node(Node("Clip", (y,), self._name(), {"min": 0.0, "max": 6.0}), self._network.shapes[y])
        return y

    def _linear(self, signature: Signature, x: str, channels_out: int) -> str:
        weight = self._weight((channels_out, self._network.shapes[x][-1]))
        shape = (-1, *signature.size_out, channels_out)
        y = self._node(Node("Linear", (x,), self._name(), {"weight": weight}), shape)
        return self._affine(y, len(shape) - 1)

    def _convolution(self, signature: Signature, x: str, channels_out: int) -> str:
        channels_in = self._network.shapes[x][1]
        groups = channels_in if signature.groups == "depthwise" else 1
        attrs = {
            "weight": self._weight((channels_out, channels_in // groups, *signature.kernel)),
            "groups": groups,
            **_window(signature),
        }
        y = self._node(Node("Conv", (x,), self._name(), attrs), (-1, channels_out, *signature.size_out))
        return self._affine(y, 1)

    def _plain(self, signature: Signature, inputs: Sequence[str], channels_out: int) -> str:
        attrs: dict[str, object] = {}
        if signature.kernel:
            attrs = {"kernel_shape": signature.kernel, "ceil_mode": 0, **_window(signature)}
        if signature.op == "AveragePool":
            attrs = {**attrs, "count_include_pad": 1}
        node = Node(signature.op, tuple(inputs), self._name(), attrs)
        return self._node(node, (-1, channels_out, *signature.size_out))

    def _affine(self, x: str, axis: int) -> str:
        shape, name = self._network.shapes[x], self._name()
        width = shape[axis]
        shift = 0.1 * self._random.standard_normal(width).astype(np.float32)
        self._network.tables[name] = Table(np.ones(width, np.float32), shift)
        return self._node(Node("Affine", (x,), name, {"table": name, "axis": axis}), shape)

    def _weight(self, shape: tuple[int, ...]) -> str:
        name = f"w{len(self._network.weights)}"
        # Variances that neither grow nor shrink through a chain: no operator may meet denormals or infinities.
        values = self._random.standard_normal(shape) * np.sqrt(2 / prod(shape[1:]))
        weight: Array = values.astype(np.float32)
        self._network.weights[name] = weight
        return name

    def _node(self, node: Node, shape: tuple[int, ...]) -> str:
        self._network.nodes.append(node)
        self._network.shapes[node.output] = shape
        return node.output

    def _name(self) -> str:
        return f"t{len(self._network.nodes)}"


def _window(signature: Signature) -> dict[str, tuple[int, ...]]:
    """Strides, dilations and the pads that make the output as large as the signature says."""
    dilations = signature.dilations or (1,) * len(signature.kernel)
    total = [
        max(0, (out - 1) * stride + (kernel - 1) * dilation + 1 - size)
        for size, out, kernel, stride, dilation in zip(
            signature.size_in, signature.size_out, signature.kernel, signature.strides, dilations
        )
    ]
    pads = (*(t // 2 for t in total), *(t - t // 2 for t in total))
    return {"strides": signature.strides, "dilations": dilations, "pads": pads}
