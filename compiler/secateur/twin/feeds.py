"""Inputs for a network: random ones, and samples of a task by the names of the network's inputs."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from secateur.ir import Network, Samples, arrays_of, sample_count, take

MOST_IDS = 1 << 16
MOST_SAMPLES = 256
ELEMENTS = 1 << 22
"""Of a network's largest tensor: 16 MB. Memory for larger ones goes back to the system and comes again, page by page, which
takes several times as long as the computation: EfficientNet-Lite0 runs four times as fast three by three as 64 at once."""


def id_limit(network: Network, name: str) -> int:
    """Return how many different integers an input may hold: those that the smallest table it indexes has rows for.

    Args:
        network: in normal form.
        name: an integer input.
    """
    reached, limit = {name}, MOST_IDS
    for node in network.nodes:
        if not reached.isdisjoint(node.inputs):
            if node.op == "Embedding":
                limit = min(limit, len(network.weights[node.constants[0]]))
            elif node.op == "Equal" and node.constants:  # one-hot vectors by comparison with 0, 1, 2, …
                limit = min(limit, int(network.weights[node.constants[0]].max()) + 1)
            else:
                reached.add(node.output)
    return limit if limit < MOST_IDS else 2


def random_input(network: Network, name: str, batch: int, generator: torch.Generator) -> Tensor:
    """Return a random input: normal float32 numbers, or integers in the range that the network takes.

    Args:
        network: in normal form.
        name: the input.
        batch: samples.
        generator: source of the numbers.
    """
    shape = (batch, *network.inputs[name][1:])
    if network.dtype(name) == "float32":
        return torch.randn(shape, generator=generator, dtype=torch.float64).float()
    ids = torch.randint(0, id_limit(network, name), shape, generator=generator)
    return ids.to(getattr(torch, network.dtype(name)))


def feeds(network: Network, samples: Samples) -> dict[str, Tensor]:
    """Return samples by the names of the network's inputs, in their element types.

    Args:
        network: in normal form.
        samples: one array per input, in the network's order.
    """
    return {
        name: torch.from_numpy(np.ascontiguousarray(array)).to(getattr(torch, network.dtype(name)))
        for name, array in zip(network.inputs, arrays_of(samples), strict=True)
    }


def split(network: Network, samples: Samples, elements: int, most: int = MOST_SAMPLES) -> list[Samples]:
    """Return samples in parts of about the same size.

    Args:
        network: that is to run on them.
        samples: one array per input, (samples, …).
        elements: of the network's largest tensor in a part, unless a single sample has more.
        most: samples in a part.
    """
    count = sample_count(samples)
    largest = max(math.prod(shape[1:]) for shape in network.shapes.values())
    parts = -(-count // max(1, min(most, elements // max(1, largest))))
    return [take(samples, slice(part * count // parts, (part + 1) * count // parts)) for part in range(parts)]


def batches(network: Network, samples: Samples) -> Iterator[dict[str, Tensor]]:
    """Return samples as `feeds`, in parts that a network runs on at its fastest."""
    return (feeds(network, part) for part in split(network, samples, ELEMENTS))
