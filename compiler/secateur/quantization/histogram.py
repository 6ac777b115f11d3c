"""How often values of a tensor occur, from which calibrators choose the range that eight bits cover."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from secateur.ir import Network, Samples, sample_count, take
from secateur.quantization.ranges import Ranges
from secateur.twin import batches, fixed_values, run

BINS = 2048
SAMPLES, VALUES = 128, 1 << 17
"""More samples, or more values of a tensor in one part of them, change no histogram, but take their time."""


@dataclass(frozen=True)
class Histogram:
    """Counts of values in equal bins between the smallest and the largest, float64, (bins,)."""

    low: float
    high: float
    counts: NDArray[np.float64]

    @property
    def width(self) -> float:
        """Of a bin."""
        return (self.high - self.low) / len(self.counts)

    @property
    def centres(self) -> NDArray[np.float64]:
        """The middle of each bin, (bins,)."""
        return np.asarray(self.low + self.width * (np.arange(len(self.counts)) + 0.5), np.float64)

    def clipped(self, limit: float) -> tuple[float, float]:
        """Return the range without what is further than ``limit`` from 0."""
        return max(self.low, -limit), min(self.high, limit)

    def limits(self, count: int, least: float) -> NDArray[np.float64]:
        """Return limits for `clipped`: shares of the largest absolute value, from ``least`` to all of it."""
        largest = max(abs(self.low), abs(self.high))
        return np.asarray(np.linspace(least, 1.0, count) * largest, np.float64)


def observe(network: Network, inputs: Samples, ranges: Ranges) -> dict[str, Histogram]:
    """Count the values of every float tensor of a rung.

    Args:
        network: the cut network with the rung's tables.
        inputs: calibration inputs, (samples, …); at most `SAMPLES` of them are used.
        ranges: of its tensors, from `measure_ranges` on these inputs or more.
    """
    counts: dict[str, Tensor] = {}

    def count(name: str, value: Tensor) -> None:
        low, high = ranges.get(name, (0.0, 0.0))
        if value.is_floating_point() and high > low:
            flat = value.flatten()
            found = torch.histc(flat[:: flat.numel() // VALUES | 1], BINS, low, high)
            counts[name] = counts[name] + found if name in counts else found.double()

    values = fixed_values(network)
    few = take(inputs, slice(0, min(SAMPLES, sample_count(inputs))))
    with torch.no_grad():
        for batch in batches(network, few):
            run(network, batch, values, on_tensor=count)
    return {name: Histogram(*ranges[name], found.numpy()) for name, found in counts.items()}
