"""From ties to channel groups."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from secateur.graph.blocks import find_blocks
from secateur.graph.rules import RULES
from secateur.graph.ties import Ties, tensor_axis, weight_axis
from secateur.ir import ChannelGroup, Groups, Network
from secateur.ir.groups import Axis

Channel = dict[Axis, list[int]]
Signature = tuple[tuple[Axis, int], ...]


def find_groups(network: Network) -> Groups:
    """Find what can be cut.

    Args:
        network: in normal form.

    Returns:
        The channel groups: channels with their elements on the same axes, which may therefore change places, produced by a
        weight and consumed by another. Everything else is frozen; ``barriers`` says why. And the blocks.
    """
    ties = Ties(network)
    apply_rules(network, ties)
    blocks, block_barriers = find_blocks(network)
    return replace(collect(network, ties), blocks=blocks, block_barriers=block_barriers)


def apply_rules(network: Network, ties: Ties) -> None:
    """Let the rule of every operator write down its ties; inputs, outputs and unknown operators are frozen."""
    for node in network.nodes:
        rule = RULES.get(node.op)
        if rule is not None:
            rule(node, ties)
            continue
        for name in (*node.inputs, node.output):
            for axis in range(1, ties.rank(name)):
                ties.freeze(tensor_axis(name, axis), f"operator {node.op} ({node.source}) has no rule")
    for kind, names in (("input", network.inputs), ("output", network.outputs)):
        for name in names:
            for axis in range(1, ties.rank(name)):
                ties.freeze(tensor_axis(name, axis), f"{kind} {name} of the network")


def collect(network: Network, ties: Ties) -> Groups:
    """Make channel groups of the classes of tied elements."""
    families: dict[tuple[Signature, object], list[Channel]] = {}
    structure = ties.structure()
    for root, elements in ties.classes().items():
        if root in ties.reasons:
            continue
        channel: Channel = {}
        for axis, index in elements:
            channel.setdefault(axis, []).append(index)
        if any(map(ties.makes, channel)) and any(map(ties.consumes, channel)):
            signature = tuple(sorted((axis, len(indices)) for axis, indices in channel.items()))
            families.setdefault((signature, structure.get(root)), []).append(channel)
    order = [node.attrs["weight"] for node in network.nodes if "weight" in node.attrs]
    sources = {node.attrs["weight"]: node.source for node in network.nodes if "weight" in node.attrs}

    def first_weight(signature: Signature) -> int:
        makers = [axis[0].removeprefix("weight:") for axis, _ in signature if ties.makes(axis)]
        return min(order.index(name) for name in makers)

    def place(item: tuple[tuple[Signature, object], list[Channel]]) -> tuple[object, ...]:
        (signature, _), channels = item
        return first_weight(signature), -len(signature), signature, channels[0][signature[0][0]]

    ranked = sorted(families.items(), key=place)
    groups = [_group(f"g{i}", sources[order[first_weight(s)]], channels) for i, ((s, _), channels) in enumerate(ranked)]
    return Groups(groups, _barriers(network, ties, groups))


def _group(group_id: str, source: str, channels: list[Channel]) -> ChannelGroup:
    anchor = next(iter(channels[0]))
    ordered = sorted(channels, key=lambda channel: channel[anchor][0])
    members = {axis: np.asarray([sorted(channel[axis]) for channel in ordered], np.int64) for axis in channels[0]}
    return ChannelGroup(group_id, source, members)


def _barriers(network: Network, ties: Ties, groups: list[ChannelGroup]) -> dict[str, str]:
    free = {axis for group in groups for axis in group.members}
    found = dict(ties.whole)
    for node in network.nodes:
        axis = weight_axis(node.attrs["weight"], 0) if "weight" in node.attrs else None
        if axis is not None and axis not in free:
            found[node.source] = ties.reason(axis, 0) or "its output is not the input of another weight"
    return found
