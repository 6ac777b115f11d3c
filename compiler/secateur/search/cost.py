"""What a network costs at given keep-counts, without cutting it: work and memory traffic of each operator."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from secateur.ir import Groups, Network, Node, Signature
from secateur.ir.groups import Keep
from secateur.search.signatures import fused_activations, signature_of
from secateur.search.work import WORK, Shapes

FUSED = ("Affine", "Relu", "Clip", "Flatten")
"""Operators that the runtime fuses into the one before, or that move nothing."""


@dataclass(frozen=True)
class Cost:
    """One operator: multiply-accumulates, elements of weights, elements read and written, its widths, and what it is."""

    macs: int
    weight_elements: int
    activation_elements: int
    channels_in: int
    channels_out: int
    signature: Signature


class Costs:
    """Costs of the operators of a network, computed from its shapes; what keep-counts do not touch is cached."""

    def __init__(self, network: Network, groups: Groups) -> None:
        self.network = network
        self._groups = groups
        self._nodes = [node for node in network.nodes if node.op not in FUSED]
        self._fused: dict[tuple[str, ...], dict[str, str]] = {}
        self._cache: dict[tuple[object, ...], Cost] = {}
        self._touching: dict[str, list[str]] = {}
        for group in groups.groups:
            for name, axis in group.members:
                self._touching.setdefault(name, []).append(group.id)
                del axis

    def of(self, keep: Keep) -> list[Cost]:
        """Return the cost of each operator that the runtime executes, batch 1; it executes none of dropped blocks."""
        gone, fused = self._groups.gone(keep), self._fused_activations(keep)
        return [
            self._node(i, node, keep, fused.get(node.output, ""))
            for i, node in enumerate(self._nodes)
            if node.output not in gone
        ]

    def nodes(self, keep: Keep) -> int:
        """Return the number of nodes of the network in normal form."""
        return len(self.network.nodes) - len(self._groups.gone(keep))

    def macs(self, keep: Keep) -> int:
        """Return the multiply-accumulates of one inference."""
        return sum(cost.macs for cost in self.of(keep))

    def params(self, keep: Keep) -> int:
        """Return the number of shared weights and private values."""
        gone = self._groups.gone(keep)
        used = {n.attrs["table"] for n in self.network.nodes if n.op == "Affine" and n.output not in gone}
        tables = sum(2 * self._width(f"table:{n}", 0, self.network.tables[n].scale.size, keep) for n in used)
        return sum(cost.weight_elements for cost in self.of(keep)) + tables

    def peak_activation_elements(self, keep: Keep) -> int:
        """Return the most elements that tensors alive at the same time hold, batch 1."""
        return max(cost.activation_elements for cost in self.of(keep))

    def _fused_activations(self, keep: Keep) -> dict[str, str]:
        """Where a block is gone, another operator may come before an activation."""
        dropped = self._groups.dropped(keep)
        if dropped not in self._fused:
            gone, instead = self._groups.gone(keep), self._groups.rewired(keep)
            left = [
                replace(node, inputs=tuple(instead.get(name, name) for name in node.inputs))
                for node in self.network.nodes
                if node.output not in gone
            ]
            self._fused[dropped] = fused_activations(replace(self.network, nodes=left))
        return self._fused[dropped]

    def _node(self, index: int, node: Node, keep: Keep, activation: str) -> Cost:
        names = [*(f"tensor:{name}" for name in (*node.inputs, node.output)), *(f"weight:{name}" for name in node.weights)]
        touching = sorted({group for name in names for group in self._touching.get(name, ())})
        key = (index, activation, *(keep[group] for group in touching))
        if key not in self._cache:
            self._cache[key] = self._compute(node, keep, activation)
        return self._cache[key]

    def _compute(self, node: Node, keep: Keep, activation: str) -> Cost:
        out = self._shape(node.output, keep)
        ins = tuple(self._shape(name, keep) for name in node.inputs)
        weights = tuple(self._weight_shape(name, keep) for name in node.weights)
        activations = int(sum(np.prod(shape) for shape in (*ins, out)))
        axis = -1 if node.op == "Linear" else 0
        macs = WORK[node.op](node, Shapes(ins, out, weights)) if node.op in WORK else 0
        elements = int(sum(np.prod(shape, dtype=np.int64) for shape in weights))
        signature = signature_of(node, Shapes(ins, out, weights), activation)
        return Cost(macs, elements, activations, ins[0][axis] if ins[0] else 1, out[axis] if out else 1, signature)

    def _weight_shape(self, name: str, keep: Keep) -> tuple[int, ...]:
        full = self.network.weights[name].shape
        return tuple(self._width(f"weight:{name}", axis, size, keep) for axis, size in enumerate(full))

    def _shape(self, tensor: str, keep: Keep) -> tuple[int, ...]:
        shape = self.network.shapes[tensor]
        return tuple(self._width(f"tensor:{tensor}", axis, size, keep) for axis, size in enumerate(shape[1:], start=1))

    def _width(self, name: str, axis: int, size: int, keep: Keep) -> int:
        for group in self._groups.groups:
            members = group.members.get((name, axis))
            if members is not None:
                size -= members.shape[1] * (group.size - keep[group.id])
        return size
