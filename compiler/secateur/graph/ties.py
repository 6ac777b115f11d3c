"""Union-find over the elements of the axes of tensors, weights and tables.

Ties are between element indices, not whole axes: padding, concatenation and slices offset them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from secateur.ir import Network, Node
from secateur.ir.groups import Axis

Indices = NDArray[np.int64]


class Ties:
    """What a rule writes down: which elements are tied, and which are frozen and why.

    Names of tensors, weights and tables do not collide: weights are ``w<n>``, tables ``t<n>``; both are given to the
    constructor apart from the tensors.
    """

    def __init__(self, network: Network) -> None:
        self.network = network
        self._sizes: dict[Axis, int] = {}
        for name, shape in network.shapes.items():
            for axis, size in enumerate(shape[1:], start=1):
                self._sizes[f"tensor:{name}", axis] = size
        for name, weight in network.weights.items():
            self._sizes |= {weight_axis(name, axis): size for axis, size in enumerate(weight.shape)}
        for name, table in network.tables.items():
            self._sizes[f"table:{name}", 0] = table.scale.size
        self._offset: dict[Axis, int] = {}
        total = 0
        for key, size in self._sizes.items():
            self._offset[key] = total
            total += size
        self._parent = np.arange(total, dtype=np.int64)
        self.reasons: dict[int, str] = {}
        self._layers = {node.attrs["weight"] for node in network.nodes if "weight" in node.attrs}
        self._sums: set[Axis] = set()
        self.whole: dict[str, str] = {}
        self._calls: list[tuple[Axis, Axis, Indices, Indices]] = []

    def size(self, name: str, axis: int) -> int:
        """Return the number of elements on an axis."""
        return self._sizes[name, axis]

    def rank(self, tensor: str) -> int:
        """Return the number of axes of a tensor, with the batch."""
        return len(self.network.shapes[tensor])

    def tie(self, a: Axis, b: Axis, a_index: Sequence[int] | None = None, b_index: Sequence[int] | None = None) -> None:
        """Tie element ``a_index[i]`` of axis ``a`` to element ``b_index[i]`` of axis ``b``; None is all of the axis."""
        first = range(self._sizes[a]) if a_index is None else a_index
        second = range(self._sizes[b]) if b_index is None else b_index
        if len(first) != len(second):
            raise ValueError(f"tie of {a} to {b}: {len(first)} elements to {len(second)}")
        for i, j in zip(first, second):
            self._union(self._offset[a] + int(i), self._offset[b] + int(j))
        self._calls.append((a, b, np.asarray(first, np.int64), np.asarray(second, np.int64)))

    def tie_tensors(self, a: str, b: str, axes: Sequence[int] | None = None) -> None:
        """Tie two tensors element by element along the same axes (None: all but the batch)."""
        for axis in range(1, self.rank(a)) if axes is None else axes:
            self.tie((tensor_axis(a, axis)), tensor_axis(b, axis))

    def keep_whole(self, source: str, reason: str) -> None:
        """Note for the report why a layer without a weight of its own (a recurrent one) is not cut at all."""
        self.whole[source] = reason

    def sum_over(self, axis: Axis) -> None:
        """An operator without a weight sums over this axis: it consumes channels as a weight does."""
        self._sums.add(axis)

    def makes(self, axis: Axis) -> bool:
        """Whether the axis is the output of a layer's weight."""
        return axis[1] == 0 and axis[0].removeprefix("weight:") in self._layers

    def consumes(self, axis: Axis) -> bool:
        """Whether the axis is the input of a layer's weight, or is summed over."""
        return axis in self._sums or (axis[1] == 1 and axis[0].removeprefix("weight:") in self._layers)

    def tie_broadcast(self, node: Node) -> None:
        """Tie all operands of a node, inputs and constants, to its output; an axis of size 1 broadcasts."""
        y = node.output
        for axis in range(1, self.rank(y)):
            whole = tensor_axis(y, axis)
            for operand in (*(tensor_axis(x, axis) for x in node.inputs), *(weight_axis(w, axis) for w in node.constants)):
                if self._sizes[operand] == self._sizes[whole]:
                    self.tie(operand, whole)

    def freeze(self, axis: Axis, reason: str) -> None:
        """Nothing on this axis may be cut."""
        offset = self._offset[axis]
        for element in range(offset, offset + self._sizes[axis]):
            self.reasons.setdefault(self._find(element), reason)

    def freeze_spatial(self, tensor: str, reason: str) -> None:
        """Nothing on the axes after the channels may be cut."""
        for axis in range(2, self.rank(tensor)):
            self.freeze(tensor_axis(tensor, axis), reason)

    def classes(self) -> dict[int, list[tuple[Axis, int]]]:
        """Return representative → the elements (axis, index) that are tied to it."""
        found: dict[int, list[tuple[Axis, int]]] = {}
        for axis, size in self._sizes.items():
            offset = self._offset[axis]
            for index in range(size):
                found.setdefault(self._find(offset + index), []).append((axis, index))
        return found

    def structure(self) -> dict[int, frozenset[tuple[int, int, int]]]:
        """Return representative → what ties hold its elements together.

        A tie is its number and, for its two elements, how many of the class lie before them on their axes. Where two classes
        agree in this, elements of the same rank play the same part, so that the classes may change places.
        """
        found: dict[int, list[tuple[int, int, int]]] = {}
        ranks = np.zeros(len(self._parent), np.int64)
        for axis, size in self._sizes.items():
            offset, seen = self._offset[axis], dict[int, int]()
            for element in range(offset, offset + size):
                root = self._find(element)
                ranks[element] = seen.get(root, 0)
                seen[root] = seen.get(root, 0) + 1
        for number, (a, b, first, second) in enumerate(self._calls):
            for i, j in zip((first + self._offset[a]).tolist(), (second + self._offset[b]).tolist()):
                found.setdefault(self._find(i), []).append((number, int(ranks[i]), int(ranks[j])))
        return {root: frozenset(ties) for root, ties in found.items()}

    def reason(self, axis: Axis, index: int) -> str | None:
        """Return why an element is frozen, or None."""
        return self.reasons.get(self._find(self._offset[axis] + index))

    def _find(self, element: int) -> int:
        parent = self._parent
        while parent[element] != element:
            parent[element] = parent[parent[element]]
            element = int(parent[element])
        return element

    def _union(self, a: int, b: int) -> None:
        a, b = self._find(a), self._find(b)
        if a == b:
            return
        a, b = min(a, b), max(a, b)
        self._parent[b] = a
        if b in self.reasons:
            self.reasons.setdefault(a, self.reasons.pop(b))


def tensor_axis(name: str, axis: int) -> Axis:
    """Return the key of a tensor's axis."""
    return f"tensor:{name}", axis


def weight_axis(name: str, axis: int) -> Axis:
    """Return the key of a weight's axis: 0 is out, 1 is in (of ``constants``, whatever the operator makes of them)."""
    return f"weight:{name}", axis


def table_axis(name: str) -> Axis:
    """Return the key of a private table's only axis."""
    return f"table:{name}", 0
