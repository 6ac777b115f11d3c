"""What a network costs at given keep-counts, without cutting it: work and memory traffic of each operator."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from math import prod

import numpy as np

from secateur.ir import Groups, Network, Node, Signature
from secateur.ir.groups import Keep
from secateur.search.lifetimes import peak_live_elements
from secateur.search.signatures import fused_activations, signature_of
from secateur.search.work import WORK, Shapes

FUSED = ("Affine", "Relu", "Clip", "Flatten")
"""Operators that the runtime fuses into the one before, or that move nothing."""


@dataclass(frozen=True)
class Cost:
    """One operator: multiply-accumulates, elements of weights, elements read and written, its widths, and what it is.

    ``weight`` is the name of its shared weight, if it is a layer.
    """

    macs: int
    weight_elements: int
    activation_elements: int
    channels_in: int
    channels_out: int
    signature: Signature
    weight: str = ""


@dataclass(frozen=True)
class _Executed:
    """An operator that the runtime executes: its node, the activation fused into it, and the groups that touch it."""

    index: int
    node: Node
    activation: str
    groups: tuple[str, ...]


@dataclass(frozen=True)
class _Bundle:
    """Operators that the same groups touch, and what was asked of them: what is summed → counts of the groups → sum."""

    groups: tuple[str, ...]
    operators: list[_Executed]
    sums: dict[Callable[[Cost], float], dict[tuple[int, ...], float]] = field(default_factory=dict)


class Costs:
    """Costs of the operators of a network, computed from its shapes; what keep-counts do not touch is cached."""

    def __init__(self, network: Network, groups: Groups) -> None:
        self.network = network
        self._groups = groups
        self._nodes = [node for node in network.nodes if node.op not in FUSED]
        self._bundles: dict[tuple[str, ...], list[_Bundle]] = {}
        self._cache: dict[tuple[object, ...], Cost] = {}
        self._touching: dict[str, set[str]] = {}
        self._on_axis: dict[tuple[str, int], list[tuple[str, int, int]]] = {}
        for group in groups.groups:
            for (name, axis), members in group.members.items():
                self._touching.setdefault(name, set()).add(group.id)
                self._on_axis.setdefault((name, axis), []).append((group.id, group.size, members.shape[1]))

    def of(self, keep: Keep) -> list[Cost]:
        """Return the cost of each operator that the runtime executes, batch 1; it executes none of dropped blocks."""
        executed = sorted((o for bundle in self._executed(keep) for o in bundle.operators), key=lambda o: o.index)
        return [self._cost(operator, keep) for operator in executed]

    def layers(self, keep: Keep) -> dict[str, Cost]:
        """Return the cost of each layer with a shared weight by that weight's name."""
        return {cost.weight: cost for cost in self.of(keep) if cost.weight}

    def total(self, keep: Keep, value: Callable[[Cost], float]) -> float:
        """Return the sum of a value over all operators; only those are looked at whose widths were never seen.

        Args:
            keep: keep-counts.
            value: of one operator; it must depend on nothing else.
        """
        found = 0.0
        for bundle in self._executed(keep):
            sums = bundle.sums.setdefault(value, {})
            counts = tuple([keep[group] for group in bundle.groups])
            if counts not in sums:
                sums[counts] = sum(value(self._cost(operator, keep)) for operator in bundle.operators)
            found += sums[counts]
        return found

    def nodes(self, keep: Keep) -> int:
        """Return the number of nodes of the network in normal form."""
        return len(self.network.nodes) - len(self._groups.gone(keep))

    def macs(self, keep: Keep) -> int:
        """Return the multiply-accumulates of one inference."""
        return int(self.total(keep, _macs))

    def params(self, keep: Keep) -> int:
        """Return the number of shared weights and private values."""
        gone = self._groups.gone(keep)
        used = {n.attrs["table"] for n in self.network.nodes if n.op == "Affine" and n.output not in gone}
        tables = sum(2 * self._width(f"table:{n}", 0, self.network.tables[n].scale.size, keep) for n in used)
        return int(self.total(keep, _weight_elements)) + tables

    def peak_activation_elements(self, keep: Keep) -> int:
        """Return the most elements that tensors alive at the same time hold, batch 1."""
        gone, instead = self._groups.gone(keep), self._groups.rewired(keep)
        nodes = [
            ([instead.get(name, name) for name in node.inputs], node.output, node.op in FUSED)
            for node in self.network.nodes
            if node.output not in gone
        ]
        outputs = {instead.get(name, name) for name in self.network.outputs}
        return peak_live_elements(nodes, self.network.inputs, outputs, lambda name: prod(self._shape(name, keep)))

    def _executed(self, keep: Keep) -> list[_Bundle]:
        dropped = self._groups.dropped(keep)
        if dropped not in self._bundles:
            gone, fused = self._groups.gone(keep), self._fused_activations(keep)
            bundles: dict[tuple[str, ...], _Bundle] = {}
            for index, node in enumerate(self._nodes):
                if node.output in gone:
                    continue
                tensors = (f"tensor:{name}" for name in (*node.inputs, node.output))
                names = [*tensors, *(f"weight:{name}" for name in node.weights)]
                groups = tuple(sorted({group for name in names for group in self._touching.get(name, ())}))
                bundle = bundles.setdefault(groups, _Bundle(groups, []))
                bundle.operators.append(_Executed(index, node, fused.get(node.output, ""), groups))
            self._bundles[dropped] = list(bundles.values())
        return self._bundles[dropped]

    def _fused_activations(self, keep: Keep) -> dict[str, str]:
        """Where a block is gone, another operator may come before an activation."""
        gone, instead = self._groups.gone(keep), self._groups.rewired(keep)
        left = [
            replace(node, inputs=tuple(instead.get(name, name) for name in node.inputs))
            for node in self.network.nodes
            if node.output not in gone
        ]
        return fused_activations(replace(self.network, nodes=left))

    def _cost(self, operator: _Executed, keep: Keep) -> Cost:
        key = (operator.index, operator.activation, *(keep[group] for group in operator.groups))
        if key not in self._cache:
            self._cache[key] = self._compute(operator.node, keep, operator.activation)
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
        widths = (ins[0][axis] if ins[0] else 1, out[axis] if out else 1)
        return Cost(macs, elements, activations, *widths, signature, node.attrs.get("weight", ""))

    def _weight_shape(self, name: str, keep: Keep) -> tuple[int, ...]:
        full = self.network.weights[name].shape
        return tuple(self._width(f"weight:{name}", axis, size, keep) for axis, size in enumerate(full))

    def _shape(self, tensor: str, keep: Keep) -> tuple[int, ...]:
        shape = self.network.shapes[tensor]
        return tuple(self._width(f"tensor:{tensor}", axis, size, keep) for axis, size in enumerate(shape[1:], start=1))

    def _width(self, name: str, axis: int, size: int, keep: Keep) -> int:
        for group, whole, width in self._on_axis.get((name, axis), ()):
            size -= width * (whole - keep[group])
        return size


def _macs(cost: Cost) -> int:
    return cost.macs


def _weight_elements(cost: Cost) -> int:
    return cost.weight_elements
