"""Propagates relevance from the outputs of a network back to its inputs, node by node."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from secateur.criteria.lrp.registry import RULES, Settings, Step, by_contribution
from secateur.ir import Network, Node
from secateur.twin import Values, run


@dataclass(frozen=True)
class Relevance:
    """Relevance of every tensor, and where some ended.

    Attributes:
        tensors: tensor → relevance, same shape; those that no relevance reaches are missing.
        absorbed: output of a node → what its constants absorbed of each sample, (samples,).
    """

    tensors: dict[str, Tensor]
    absorbed: dict[str, Tensor]


def propagate(
    network: Network, values: Values, tensors: Mapping[str, Tensor], start: Mapping[str, Tensor], settings: Settings
) -> Relevance:
    """Propagate relevance.

    Args:
        network: in normal form.
        values: its weights and tables; their type is that of ``tensors``.
        tensors: every tensor of the network (`record`).
        start: tensors at which it begins → their relevance, same shape.
        settings: how linear layers share it out.
    """
    found = dict(start)
    absorbed: dict[str, Tensor] = {}
    for node in reversed(network.nodes):
        relevance = found.get(node.output)
        if relevance is None:
            continue
        inputs = [tensors[name] for name in node.inputs]
        step = Step(node, inputs, tensors[node.output], relevance, values, settings)
        passed = RULES.get(node.op, by_contribution)(step)
        for name, part in zip(node.inputs, passed.inputs):
            found[name] = found[name] + part if name in found else part
        if passed.absorbed is not None:
            absorbed[node.output] = passed.absorbed
    return Relevance(found, absorbed)


def record(network: Network, values: Values, feeds: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Run a network and return every tensor."""
    with torch.no_grad():
        return run(network, feeds, values, wanted=network.shapes)


def without_rule(network: Network) -> list[Node]:
    """Return the nodes that no rule covers: their relevance is gradient × input."""
    return [node for node in network.nodes if node.op not in RULES]
