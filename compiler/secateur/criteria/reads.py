"""Where weights read the channels of a group: a channel that is cut is zero there, so there its worth shows."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from secateur.ir import Groups, Network, Node
from secateur.twin import fixed_values, run

BATCH = 64
"""Most samples at once."""
ELEMENTS = 2**25
"""Most elements of all tensors of a batch at once, as gradients and relevance need them: 128 MB in float32."""


@dataclass(frozen=True)
class Read:
    """A tensor that a weight reads, and which of its elements are the channels of one group.

    Attributes:
        tensor: its name.
        axis: the channels' axis.
        group: id of the group.
        members: element indices, shape (channels, elements of a channel on this axis).
    """

    tensor: str
    axis: int
    group: str
    members: NDArray[np.int64]

    def of(self, values: Tensor) -> NDArray[np.float64]:
        """Sum values of a tensor over everything but samples and channels.

        Args:
            values: shape of the tensor, batch first.

        Returns:
            Shape (samples, channels).
        """
        rest = [axis for axis in range(1, values.ndim) if axis != self.axis]
        sums = (values.double().sum(rest) if rest else values.double()).numpy()
        result: NDArray[np.float64] = sums[:, self.members].sum(-1)
        return result


def reads(network: Network, groups: Groups) -> list[Read]:
    """Return every tensor that a weight reads, once for each group whose channels it has, in the order of the network.

    A group that only constants of other operators use is read by those.
    """
    found: dict[tuple[str, int, str], Read] = {}
    weighted = [name for node in network.nodes if "weight" in node.attrs for name in node.inputs]
    others = [name for node in network.nodes if node.constants for name in node.inputs]
    done: set[str] = set()
    for tensors in (weighted, others):
        for tensor in tensors:
            for group in groups.groups:
                for axis in range(1, len(network.shapes[tensor])):
                    members = group.members.get((f"tensor:{tensor}", axis))
                    if members is not None and group.id not in done:
                        found[tensor, axis, group.id] = Read(tensor, axis, group.id, members)
        done = {read.group for read in found.values()}
    return list(found.values())


def with_own_reads(network: Network) -> tuple[Network, dict[str, str]]:
    """Give every weight an input of its own, so that what one weight reads can be changed without changing a shortcut.

    Returns:
        The same function with a copying node before each weight, and the copy → the tensor it copies.
    """
    nodes: list[Node] = []
    shapes, copies = dict(network.shapes), {}
    for node in network.nodes:
        if node.weights:
            renamed = [f"{name} read by {node.output}" for name in node.inputs]
            for name, copy in zip(node.inputs, renamed):
                if copy not in copies:
                    nodes.append(Node("ScalarAffine", (name,), copy, {"scale": 1.0, "shift": 0.0}, node.source))
                    shapes[copy], copies[copy] = network.shapes[name], name
            node = replace(node, inputs=tuple(renamed))
        nodes.append(node)
    return replace(network, nodes=nodes, shapes=shapes), copies


def batches(network: Network, inputs: NDArray[np.float32]) -> list[slice]:
    """Return slices of the samples, as many at once as memory allows.

    Args:
        network: that is to run on them.
        inputs: (samples, …).
    """
    elements = sum(math.prod(shape[1:]) for shape in network.shapes.values())
    size = min(BATCH, max(1, ELEMENTS // elements))
    return [slice(start, min(start + size, len(inputs))) for start in range(0, len(inputs), size)]


def observe(network: Network, inputs: NDArray[np.float32], on_tensor: Callable[[str, Tensor], None]) -> None:
    """Run the calibration samples through the network and show every tensor of every batch.

    Args:
        network: what to run; it has one input.
        inputs: calibration samples, (samples, …) float32.
        on_tensor: called with a tensor's name and value.
    """
    name, values = next(iter(network.inputs)), fixed_values(network)
    with torch.no_grad():
        for part in batches(network, inputs):
            run(network, {name: torch.from_numpy(np.ascontiguousarray(inputs[part]))}, values, on_tensor=on_tensor)
