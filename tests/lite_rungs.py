"""Small TFLite files for the agent's tests, written by the compiler's own exporter from a network given by hand."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np

from secateur.export import Cut, write_file
from secateur.ir import PRECISIONS, Network, Node, Table
from secateur_agent.bundle.manifest import TensorSpec
from secateur_agent.inference.control import LoadRung


def linear(scale: float, features: int = 4) -> Network:
    """A network that computes ``y = scale · x · W`` with W of ones, for two outputs."""
    nodes = [Node("Linear", ("x",), "h", {"weight": "w"}), Node("Affine", ("h",), "y", {"table": "t", "axis": 1})]
    table = Table(np.full(2, scale), np.zeros(2))
    shapes = {"x": (-1, features), "h": (-1, 2), "y": (-1, 2)}
    weights = {"w": np.ones((2, features), np.float32)}
    return Network({"x": (-1, features)}, {"y": (-1, 2)}, nodes, weights, {"t": table}, shapes)


def image(scale: float) -> Network:
    """A network that takes an image and gives one: ``y = scale · x``, channel by channel."""
    attrs = {"weight": "w", "strides": (1, 1), "pads": (0, 0, 0, 0), "dilations": (1, 1), "groups": 1}
    nodes = [Node("Conv", ("x",), "h", attrs), Node("Affine", ("h",), "y", {"table": "t", "axis": 1})]
    shape = (-1, 3, 4, 5)
    weights = {"w": np.eye(3, dtype=np.float32)[:, :, None, None]}
    table = Table(np.full(3, scale), np.zeros(3))
    return Network({"x": shape}, {"y": shape}, nodes, weights, {"t": table}, {"x": shape, "h": shape, "y": shape})


def write(folder: Path, network: Network, rung: str = "r0-fp32", **changes: Any) -> LoadRung:
    """Write a network's file and return the request to load it."""
    index = {name: tuple(np.arange(size) for size in weight.shape) for name, weight in network.weights.items()}
    cut = Cut(network, index, {name: weight.shape for name, weight in network.weights.items()})
    base = {name: weight.astype("<f4") for name, weight in network.weights.items()}
    data = write_file(cut, "tflite", PRECISIONS["fp32"]).recipe(base)[1]
    path = folder / f"{rung}.model"
    path.write_bytes(data)
    fields: dict[str, Any] = {
        "rung": rung,
        "path": str(path),
        "sha256": hashlib.sha256(data).hexdigest(),
        "precision": "fp32",
        "name": "tiny",
        "inputs": tuple(TensorSpec(name=name, shape=shape) for name, shape in network.inputs.items()),
        "outputs": tuple(TensorSpec(name=name, shape=shape) for name, shape in network.outputs.items()),
        "runtime": "tflite",
        "providers": ("XNNPACK",),
    }
    return LoadRung(**{**fields, **changes})
