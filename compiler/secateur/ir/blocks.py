"""Blocks: residual branches that a rung may do without."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Block:
    """A residual branch f of ``Add(x, f(x))`` all of whose tensors are used inside it alone.

    Without it the sum is x: the node that reads the sum reads ``skip`` instead. In keep-counts a block is 1 or 0.

    Attributes:
        id: ``b0``, ``b1``, … in the order of the network.
        source: name of the first layer with a weight inside, in the user's model.
        nodes: outputs of the nodes that disappear with it, in the order of the network; the last is ``add``.
        skip: the tensor x, which takes the sum's place.
        add: the sum.
    """

    id: str
    source: str
    nodes: tuple[str, ...]
    skip: str
    add: str
