"""The last steps to normal form: merge affine nodes, make scales non-negative, give everything a canonical name."""

from __future__ import annotations

import itertools

import numpy as np

from secateur.ir import Network, Node, Table


def normalise(network: Network, output_names: dict[str, str]) -> Network:
    """Finish the normal form.

    Args:
        network: as the converters left it.
        output_names: output tensor → the name that the user gave it.

    Returns:
        A network in which no two ``Affine`` nodes follow each other, no scale after a weight is negative (its sign went into
        the weight), dead nodes are gone, weights, tables and tensors are named in order.
    """
    return _rename(_signs_into_weights(_merge_affine(_drop_dead(network))), output_names)


def _drop_dead(network: Network) -> Network:
    needed = set(network.outputs)
    nodes: list[Node] = []
    for node in reversed(network.nodes):
        if node.output in needed:
            needed.update(node.inputs)
            nodes.append(node)
    network.nodes = nodes[::-1]
    return network


def _merge_affine(network: Network) -> Network:
    """``Affine`` after ``Affine`` on the same axis becomes one (a bias and the batch norm behind it)."""
    uses = dict.fromkeys(network.outputs, 0)
    for node in network.nodes:
        for name in node.inputs:
            uses[name] = uses.get(name, 0) + 1
    merged: dict[str, Node] = {}
    nodes: list[Node] = []
    for node in network.nodes:
        before = merged.get(node.inputs[0]) if node.op == "Affine" else None
        alone = before is not None and uses[before.output] == 1 and before.output not in network.outputs
        if before is not None and alone and before.attrs["axis"] == node.attrs["axis"]:
            first, second = network.tables[before.attrs["table"]], network.tables[node.attrs["table"]]
            scale = first.scale.astype(np.float64) * second.scale
            shift = first.shift.astype(np.float64) * second.scale + second.shift
            network.tables[node.attrs["table"]] = Table(scale.astype(np.float32), shift.astype(np.float32))
            nodes.remove(before)
            node = Node("Affine", before.inputs, node.output, node.attrs, before.source)
        if node.op == "Affine":
            merged[node.output] = node
        nodes.append(node)
    network.nodes = nodes
    return network


def _signs_into_weights(network: Network) -> Network:
    producers = network.producers()
    shared = [node.attrs["weight"] for node in network.nodes if "weight" in node.attrs]
    for node in network.nodes:
        source = producers.get(node.inputs[0]) if node.op == "Affine" else None
        if source is None or "weight" not in source.attrs or shared.count(source.attrs["weight"]) > 1:
            continue
        table = network.tables[node.attrs["table"]]
        weight = network.weights[source.attrs["weight"]]
        sign = np.where(table.scale < 0, np.float32(-1), np.float32(1))
        network.weights[source.attrs["weight"]] = weight * sign.reshape(-1, *[1] * (weight.ndim - 1))
        network.tables[node.attrs["table"]] = Table(np.abs(table.scale), table.shift)
    return network


def _rename(network: Network, output_names: dict[str, str]) -> Network:
    tensors = {name: name for name in network.inputs} | output_names
    taken = set(tensors.values())
    free = (name for name in map("x{}".format, itertools.count()) if name not in taken)
    weights: dict[str, str] = {}
    tables: dict[str, str] = {}
    nodes: list[Node] = []
    for node in network.nodes:
        if node.output not in tensors:
            tensors[node.output] = next(free)
        attrs = dict(node.attrs)
        if "weight" in attrs:
            attrs["weight"] = weights.setdefault(attrs["weight"], f"w{len(weights)}")
        if "constants" in attrs:
            attrs["constants"] = tuple(weights.setdefault(name, f"w{len(weights)}") for name in attrs["constants"])
        if "table" in attrs:
            attrs["table"] = tables.setdefault(attrs["table"], f"t{len(tables)}")
        nodes.append(Node(node.op, tuple(tensors[name] for name in node.inputs), tensors[node.output], attrs, node.source))
    return Network(
        inputs=network.inputs,
        outputs={tensors[name]: shape for name, shape in network.outputs.items()},
        nodes=nodes,
        weights={new: network.weights[old] for old, new in weights.items()},
        tables={new: network.tables[old] for old, new in tables.items()},
        shapes={},
        dtypes={tensors[name]: dtype for name, dtype in network.dtypes.items() if dtype != "float32"},
    )
