"""Where eight bits stand in an int8 network: which tensors are quantized, and which stay as they were computed.

Writers of files follow it, and so does whoever simulates them.
"""

from __future__ import annotations

from collections.abc import Set as AbstractSet

from secateur.ir.network import Network, Node

_IN_FLOAT = {
    *("Softmax", "LogSoftmax", "LayerNormalization", "InstanceNormalization", "Gelu", "Erf", "Exp", "Log", "Sqrt", "Pow"),
    *("Reciprocal", "Div", "ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceL2", "GRU", "LSTM", "RNN"),
    *("Where", "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual"),
}
"""Operators without an integer kernel that need more than eight bits of what they read."""
_PASSING = ("ScalarAffine", "Add", "Sub", "Mul", "Reshape", "Transpose")
"""Operators that need no more bits than what reads them."""
_NEVER_ZERO = {"Reciprocal": 0, "Log": 0, "Pow": 0, "Div": 1}
"""Operators and which of their inputs must not be rounded to 0: that one stays float."""


class Placement:
    """Which tensors of a network are quantized.

    Args:
        network: in normal form.
        layers: weights of the layers that compute in int8; the others compute in float.
        symmetric: whether zero is always 0: then a quantized range clips nothing by itself.
    """

    def __init__(self, network: Network, layers: AbstractSet[str], symmetric: bool = False) -> None:
        self._network, self._layers, self._symmetric = network, layers, symmetric
        self._readers = network.consumers()
        self._affine = network.affines()
        self._only_exact: dict[str, bool] = {}

    def integer(self, node: Node) -> bool:
        """Whether a layer computes in int8."""
        return node.attrs["weight"] in self._layers

    def end(self, node: Node) -> Node:
        """Return the node whose output a layer's kernel gives: the scale and shift behind it."""
        return self._affine[node.output] if "weight" in node.attrs else node

    def wants_exact(self, node: Node, place: int) -> bool:
        """Whether a node takes an input as it was before quantization: what divides by it, or a layer in float, if nothing
        else reads that in eight bits."""
        return self._must_be_exact(node, place) or (self._float(node) and self.only_exact(node.inputs[place]))

    def clipped(self, node: Node) -> str:
        """If only a Relu or a Clip from 0 reads the node's output, its output: the quantized range does what it does."""
        readers = self._readers.get(node.output, [])
        if self._symmetric or len(readers) != 1 or node.output in self._network.outputs or node.op not in ("Affine", "Add"):
            return node.output
        reader = readers[0]
        if reader.output in self._network.outputs or any(self._exact_readers(reader.output)):
            return node.output
        clips = reader.op == "Relu" or (reader.op == "Clip" and reader.attrs.get("min") == 0)
        return reader.output if clips else node.output

    def only_exact(self, tensor: str) -> bool:
        """Whether all that reads a tensor takes it as it was before quantization: then it need not be quantized at all."""
        if tensor not in self._only_exact:
            reads = [
                self._must_be_exact(node, place) or self._float(node)
                for node in self._readers.get(tensor, [])
                for place, name in enumerate(node.inputs)
                if name == tensor
            ]
            self._only_exact[tensor] = bool(reads) and all(reads)
        return self._only_exact[tensor]

    def _must_be_exact(self, node: Node, place: int) -> bool:
        return "weight" not in node.attrs and _NEVER_ZERO.get(node.op) == place

    def _float(self, node: Node) -> bool:
        """Whether a node is a layer in float, or gives something that such layers alone read."""
        if "weight" in node.attrs:
            return not self.integer(node)
        return node.output not in self._network.outputs and self.only_exact(node.output)

    def stays_float(self, node: Node, tensor: str) -> bool:
        """Whether a tensor is left as it was computed.

        Args:
            node: that computes it.
            tensor: the node's output, or what follows it if that is `clipped` by quantization.
        """
        plain = tensor in self._network.outputs or (tensor == self.end(node).output and self.only_exact(tensor))
        return plain or ("weight" not in node.attrs and self._read_in_float(tensor))

    def tensors(self) -> set[str]:
        """Return the tensors that every reader gets in eight bits."""
        found = {name for name in self._network.inputs if not any(self._exact_readers(name))}
        done: set[str] = set()
        for node in self._network.nodes:
            if node.output in done:
                continue
            end = self.end(node)
            clipped = self.clipped(end)
            done |= {end.output, clipped}
            if not self.stays_float(node, clipped) and not any(self._exact_readers(clipped)):
                found.add(clipped)
        return {name for name in found if self._network.dtype(name) == "float32"}

    def _exact_readers(self, tensor: str) -> list[bool]:
        """For each place where a tensor is read, whether it is wanted as it was before quantization."""
        return [
            self.wants_exact(node, place)
            for node in self._readers.get(tensor, [])
            for place, name in enumerate(node.inputs)
            if name == tensor
        ]

    def _read_in_float(self, tensor: str) -> bool:
        """Whether only operators that compute in float anyway read a tensor: scores with a mask, parts of a norm."""
        readers = self._readers.get(tensor, [])
        return bool(readers) and all(
            reader.op in _IN_FLOAT or (reader.op in _PASSING and self._read_in_float(reader.output)) for reader in readers
        )
