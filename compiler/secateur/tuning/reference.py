"""What the full network gives, computed just before it is needed and forgotten after: all of it would not fit in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

from secateur.ir import Network
from secateur.twin import fixed_values
from secateur.twin.execute import apply


class Reference:
    """Runs the full network on all parts of the samples in lockstep, as far as it is asked to.

    Args:
        network: the full network.
        parts: of the samples, input tensor → value.
    """

    def __init__(self, network: Network, parts: Sequence[Mapping[str, Tensor]]) -> None:
        self._nodes = network.nodes
        self._values = fixed_values(network)
        self._live = [dict(part) for part in parts]
        self._next = 0
        self._made = {node.output: index for index, node in enumerate(network.nodes)}
        self._read = {name: index for index, node in enumerate(network.nodes) for name in node.inputs}

    def of(self, tensor: str) -> list[Tensor]:
        """Return a tensor of every part; it must not have been forgotten."""
        while tensor not in self._live[0]:
            node = self._nodes[self._next]
            for live in self._live:
                live[node.output] = apply(node, [live[name] for name in node.inputs], self._values)
            self._next += 1
        return [live[tensor] for live in self._live]

    def forget(self, tensor: str) -> None:
        """Forget this tensor and those before it, but for what the network has still to read."""
        index = self._made[tensor]
        old = [n for n in self._live[0] if self._made.get(n, -1) <= index and self._read.get(n, -1) < self._next]
        for live in self._live:
            for name in old:
                del live[name]
