"""Reshapes that split and join axes: attention heads."""

from __future__ import annotations

from math import prod

from secateur.graph.rules.registry import rule
from secateur.graph.ties import Ties, tensor_axis
from secateur.ir import Node
from secateur.ir.reshaping import reshape_blocks


@rule("Reshape")
def reshape(node: Node, ties: Ties) -> None:
    """Where an axis of h·d becomes (h, d), or the reverse, its element i belongs to element i // d of h, and d is frozen.

    A joined axis whose first part is frozen already (positions) belongs to the first part that is not.
    """
    x, y = node.inputs[0], node.output
    shapes = ties.network.shapes
    before, after = shapes[x], shapes[y]
    for sources, targets in reshape_blocks(before, after):
        if len(sources) == len(targets) == 1:
            ties.tie(tensor_axis(x, sources[0]), tensor_axis(y, targets[0]))
        elif len(sources) == 1:
            _parts(ties, tensor_axis(x, sources[0]), [tensor_axis(y, axis) for axis in targets], node)
        elif len(targets) == 1:
            _parts(ties, tensor_axis(y, targets[0]), [tensor_axis(x, axis) for axis in sources], node)
        else:
            for name, axes in ((x, sources), (y, targets)):
                for axis in axes:
                    ties.freeze(tensor_axis(name, axis), f"reshape {node.source} mixes axes")


def _parts(ties: Ties, flat: tuple[str, int], parts: list[tuple[str, int]], node: Node) -> None:
    sizes = [ties.size(*part) for part in parts]
    free = [number for number, part in enumerate(parts) if ties.reason(part, 0) is None]
    chosen = free[0] if free else 0
    inner = prod(sizes[chosen + 1 :])
    for offset in range(prod(sizes) // sizes[chosen]):
        first = offset // inner * inner * sizes[chosen] + offset % inner
        ties.tie(parts[chosen], flat, None, range(first, first + sizes[chosen] * inner, inner))
    for number, part in enumerate(parts):
        if number != chosen:
            ties.freeze(part, f"part of an axis that reshape {node.source} splits or joins")
