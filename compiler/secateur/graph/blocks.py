"""Finds blocks: residual branches that can be dropped whole.

A branch begins at a tensor x and ends in ``Add(x, f(x))``. Walking back from f(x), every path must end at x, and nothing
outside may read what is computed on the way: then x dominates the branch, and the branch is used for the sum alone. A
shortcut that is not x itself (a projection, slices and padding) ends where the stream changes its shape; it is refused.
(Veit, Wilber, Belongie: Residual Networks Behave Like Ensembles of Relatively Shallow Networks, NeurIPS 2016: a trained
residual network loses little without one of its branches, unless the stream changes its shape there.)
"""

from __future__ import annotations

from collections.abc import Mapping

from secateur.ir import Block, Network, Node


def find_blocks(network: Network) -> tuple[list[Block], dict[str, str]]:
    """Find the blocks of a network.

    Args:
        network: in normal form.

    Returns:
        The blocks, in the order of the network and disjoint (of nested ones the innermost), and for each other addition of
        two tensors why no branch that ends there can be dropped.
    """
    producers, readers = network.producers(), network.consumers()
    place = {node.output: index for index, node in enumerate(network.nodes)}
    candidates: list[tuple[Node, str, list[Node]]] = []
    reasons: dict[str, str] = {}
    for node in network.nodes:
        if node.op != "Add" or len(node.inputs) != 2 or node.constants:
            continue
        found = _branch(node, network, producers, readers)
        if isinstance(found, str):
            reasons[node.source] = found
        else:
            candidates.append((node, found[0], sorted(found[1], key=lambda inner: place[inner.output])))
    taken: set[str] = set()
    blocks: list[Block] = []
    for node, skip, inner in sorted(candidates, key=lambda candidate: len(candidate[2])):
        names = tuple(each.output for each in (*inner, node))
        if taken.intersection(names):
            reasons[node.source] = "its branch contains another block"
            continue
        taken.update(names)
        source = next(each.source for each in inner if "weight" in each.attrs)
        blocks.append(Block("", source, names, skip, node.output))
    blocks.sort(key=lambda block: place[block.add])
    numbered = [Block(f"b{i}", b.source, b.nodes, b.skip, b.add) for i, b in enumerate(blocks)]
    order = [node.source for node in network.nodes]
    return numbered, dict(sorted(reasons.items(), key=lambda item: order.index(item[0])))


def _branch(
    add: Node, network: Network, producers: Mapping[str, Node], readers: Mapping[str, list[Node]]
) -> tuple[str, list[Node]] | str:
    """Return the skip tensor and the nodes of the branch that ends in ``add``, or why there is none."""
    reason = "neither operand is computed from the other alone: its shortcut is a projection or changes the shape"
    for skip, end in (add.inputs, add.inputs[::-1]):
        inner = _walk_back(end, skip, producers)
        if not inner:
            continue
        names = {node.output for node in inner}
        outside = [node for name in names for node in readers[name] if node.output not in names and node is not add]
        if add.output in network.outputs:
            reason = f"its sum is output {add.output} of the network"
        elif names & set(network.outputs):
            reason = "an output of the network is computed inside its branch"
        elif outside:
            reason = f"{outside[0].op} ({outside[0].source}) reads a tensor of its branch from outside"
        elif not any("weight" in node.attrs for node in inner):
            reason = "its branch has no weight"
        elif network.shapes[skip] != network.shapes[add.output]:
            reason = f"its shortcut has shape {network.shapes[skip]}, the sum {network.shapes[add.output]}"
        else:
            return skip, inner
        break
    return reason


def _walk_back(end: str, skip: str, producers: Mapping[str, Node]) -> list[Node]:
    """Return the nodes on the way from ``skip`` to ``end``; none if some way to ``end`` does not come from ``skip``."""
    found: dict[str, Node] = {}
    waiting = [end]
    while waiting:
        name = waiting.pop()
        if name == skip or name in found:
            continue
        if name not in producers or not producers[name].inputs:
            return []
        found[name] = producers[name]
        waiting.extend(producers[name].inputs)
    return list(found.values())
