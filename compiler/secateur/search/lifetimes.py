"""How many elements tensors hold that are alive at the same time, when nodes run in their order."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence


def peak_live_elements(
    nodes: Sequence[tuple[Sequence[str], str, bool]],
    inputs: Iterable[str],
    outputs: Collection[str],
    size: Callable[[str], int],
) -> int:
    """Return the most elements alive at any node.

    A tensor lives from the node that computes it to the last one that reads it; inputs of the network from the beginning,
    outputs to the end. A node that works in place takes over the memory of its first input, if nothing reads that later.

    Args:
        nodes: in the order in which they run: input tensors, output tensor, whether it works in place.
        inputs: of the network.
        outputs: of the network.
        size: elements of a tensor.
    """
    last = {name: number for number, (read, _, _) in enumerate(nodes) for name in read}
    last |= {name: len(nodes) for name in outputs}
    alive = {name: size(name) for name in inputs}
    now = most = sum(alive.values())
    for number, (read, made, in_place) in enumerate(nodes):
        if in_place and read and last.get(read[0]) == number:
            now -= alive.pop(read[0], 0)
        alive[made] = size(made)
        now += alive[made]
        most = max(most, now)
        for name in (*read, made):
            if last.get(name, -1) <= number:
                now -= alive.pop(name, 0)
    return most
