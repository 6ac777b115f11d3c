"""Turns padded shortcuts into the 1 × 1 convolutions that compute the same.

Where a residual network widens without parameters (He et al., Deep residual learning, 2015, option A), the stream is thinned
by a slice and widened by channels of zeros. That ties the channels of every stage to those of the next, and runtimes cannot
fuse the addition behind it. A convolution whose filters pick one channel each does both; it is cut and tuned like any other.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from secateur.ir import Network, Node, Table


def convolve_shortcuts(network: Network, shapes: dict[str, tuple[int, ...]]) -> Network:
    """Replace zero channels beside a thinned stream, where they are added to something, by a convolution.

    Args:
        network: as the converters left it.
        shapes: every tensor → shape, −1 for the batch.
    """
    producers, readers = network.producers(), network.consumers()
    replaced: dict[str, list[Node]] = {}
    gone: set[str] = set()
    for node in network.nodes:
        added = [reader.op for reader in readers.get(node.output, [])] == ["Add"] and node.output not in network.outputs
        if node.op != "Pad" or not added or not _widens(node, len(shapes[node.output])):
            continue
        spatial = len(shapes[node.output]) - 2
        strides = [1] * spatial
        source = node.inputs[0]
        while (before := producers.get(source)) is not None and _thins(before, shapes[before.inputs[0]]):
            if len(readers[source]) > 1 or source in network.outputs:
                break
            for axis, step in zip(before.attrs["axes"], before.attrs["steps"]):
                strides[axis - 2] *= step
            gone.add(source)
            source = before.inputs[0]
        weight = f"w{len(network.weights)}"
        network.weights[weight] = _picking(node, shapes[source][1], spatial)
        attrs = {
            "weight": weight,
            "strides": tuple(strides),
            "pads": (0,) * (2 * spatial),
            "dilations": (1,) * spatial,
            "groups": 1,
        }
        raw, table, channels = f"{node.output}_picked", f"t{len(network.tables)}", shapes[node.output][1]
        network.tables[table] = Table(np.ones(channels, np.float32), np.zeros(channels, np.float32))
        replaced[node.output] = [
            Node("Conv", (source,), raw, attrs, node.source),
            Node("Affine", (raw,), node.output, {"table": table, "axis": 1}, node.source),
        ]
    left = (replaced.get(node.output, [node]) for node in network.nodes if node.output not in gone)
    network.nodes = [node for nodes in left for node in nodes]
    return network


def _widens(node: Node, rank: int) -> bool:
    """Whether channels are all that is added, to something with a spatial axis."""
    sizes = zip(node.attrs["begins"], node.attrs["ends"])
    wide = [axis for axis, (begin, end) in enumerate(sizes) if begin or end]
    return wide == [1] and rank in (3, 4)


def _thins(node: Node, shape: tuple[int, ...]) -> bool:
    """Whether every n-th position is taken from the first to the last, along spatial axes."""
    if node.op != "Slice":
        return False
    attrs = node.attrs
    return all(
        axis >= 2 and start == 0 and len(range(0, stop, step)) == len(range(0, shape[axis], step))
        for axis, start, stop, step in zip(attrs["axes"], attrs["starts"], attrs["stops"], attrs["steps"])
    )


def _picking(node: Node, channels: int, spatial: int) -> NDArray[np.float32]:
    """Filters (out, in, 1, …) that copy each channel to its place behind the zeros."""
    begin, end = node.attrs["begins"][1], node.attrs["ends"][1]
    weight = np.zeros((begin + channels + end, channels), np.float32)
    weight[begin + np.arange(channels), np.arange(channels)] = 1.0
    return weight.reshape(*weight.shape, *[1] * spatial)
