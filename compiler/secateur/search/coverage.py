"""How much of a network can be cut: the share of its work in layers of which some channels can go."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from secateur.ir import Groups, Network
from secateur.search.work import WORK, Shapes


@dataclass(frozen=True)
class Coverage:
    """What of a network's work lies in layers whose output or input channels can be cut.

    Attributes:
        macs: multiply-accumulates of all layers, one inference, batch 1.
        cuttable_macs: of those layers.
        frozen: the other layers, by name → why their output channels are frozen.
    """

    macs: int
    cuttable_macs: int
    frozen: Mapping[str, str]

    @property
    def share(self) -> float:
        """``cuttable_macs`` of ``macs``, 0 to 1."""
        return self.cuttable_macs / self.macs if self.macs else 0.0


def coverage(network: Network, groups: Groups) -> Coverage:
    """Return how much of a network can be cut.

    Args:
        network: in normal form.
        groups: its channel groups.
    """
    axes = set(groups.axes())
    total = cuttable = 0
    frozen: dict[str, str] = {}
    for node in network.nodes:
        if "weight" not in node.attrs:
            continue
        inputs = tuple(network.shapes[name][1:] for name in node.inputs)
        shapes = Shapes(inputs, network.shapes[node.output][1:], tuple(network.weights[name].shape for name in node.weights))
        macs = WORK[node.op](node, shapes)
        total += macs
        name = f"weight:{node.attrs['weight']}"
        if (name, 0) in axes or (name, 1) in axes:
            cuttable += macs
        else:
            frozen[node.source] = groups.barriers.get(node.source, "no channel of it can be cut")
    return Coverage(total, cuttable, frozen)
