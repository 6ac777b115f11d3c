"""From a cut network to its model file: quantization parameters, then the writer of the runtime and precision."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from secateur.export import Cut, Program, write_file
from secateur.ir import PRECISIONS, Groups, Network, Samples
from secateur.master import Indexes, Master
from secateur.quantization import Ranges, measure_ranges, parameters, weight_scales


def program_of(
    master: Master,
    network: Network,
    index: Indexes,
    precision: str,
    ranges: Mapping[str, tuple[float, float]] | None = None,
    runtime: str = "onnxruntime",
) -> Program:
    """Return a rung's file as pieces.

    Args:
        master: whose base the weights are slices of.
        network: the cut network with the rung's tables.
        index: weight → kept indices of each axis.
        precision: of the file.
        ranges: of its tensors, if activations are quantized; measured if None.
        runtime: that reads the file.
    """
    kind = PRECISIONS[precision]
    shapes = {name: weight.shape for name, weight in master.network.weights.items()}
    groups = {node.attrs["weight"]: node.attrs["groups"] for node in master.network.nodes if "groups" in node.attrs}
    if not kind.integer:
        return write_file(Cut(network, index, shapes, groups=groups), runtime, kind)
    activations = {}
    if kind.activations:
        found: Ranges = dict(ranges) if ranges is not None else measure_ranges(network, master.calibration)
        activations = parameters(network, found, kind.symmetric)
    rows = {name: axes[0] for name, axes in index.items()}
    scales = weight_scales(network, master.quantized, rows, activations)
    return write_file(Cut(network, index, shapes, activations, scales, groups), runtime, kind)


def require_writable(network: Network, runtime: str) -> None:
    """Check that a network can be written for a runtime, before anything that takes long.

    Args:
        network: in normal form.
        runtime: that reads the files.

    Raises:
        SecateurError: if the runtime has no operator for one of the network's.
    """
    own = Master(network, Groups([]), {}, [], np.zeros(0, np.float32))
    program_of(own, network, own.index({}), "fp32", runtime=runtime)


def rung_file(
    master: Master,
    network: Network,
    index: Indexes,
    precision: str,
    ranges: Mapping[str, tuple[float, float]] | None = None,
    runtime: str = "onnxruntime",
) -> bytes:
    """Return a rung's file; the arguments are those of `program_of`."""
    return program_of(master, network, index, precision, ranges, runtime).recipe(master.base(precision))[1]


def file_of(
    network: Network,
    calibration: Samples,
    precision: str,
    ranges: Mapping[str, tuple[float, float]] | None = None,
    runtime: str = "onnxruntime",
    floating: frozenset[str] = frozenset(),
) -> bytes:
    """Return a network by itself as a model file, in the very form of a rung; int8 is quantized on its own weights.

    Args:
        network: in normal form.
        calibration: inputs, (samples, …).
        precision: of the file.
        ranges: of its tensors, if activations are quantized; measured if None.
        runtime: that reads the file.
        floating: weights of layers that stay float.
    """
    own = Master(network, Groups([]), {}, [], calibration, floating)
    return rung_file(own, network, own.index({}), precision, ranges, runtime)
