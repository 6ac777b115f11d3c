"""The range of every tensor of a rung, as calibration inputs show it."""

from __future__ import annotations

from torch import Tensor, no_grad

from secateur.ir import Network, Samples, SecateurError
from secateur.twin import batches, fixed_values, run

Ranges = dict[str, tuple[float, float]]
"""Tensor → smallest and largest value that eight bits cover."""


def measure_ranges(network: Network, inputs: Samples) -> Ranges:
    """Measure the smallest and the largest value of every float tensor of a rung.

    Args:
        network: the cut network with the rung's tables.
        inputs: calibration inputs, (samples, …).

    Raises:
        SecateurError: if a value is infinite or not a number.
    """
    ranges: Ranges = {}

    def observe(name: str, value: Tensor) -> None:
        if not value.is_floating_point():
            return
        low, high = (float(bound) for bound in value.aminmax())
        if not (abs(low) < float("inf") and abs(high) < float("inf")):
            where = "the calibration inputs hold" if name in network.inputs else f"tensor {name!r} gets"
            raise SecateurError(f"calibration: {where} a value that is infinite or not a number; mend the data or the model")
        before = ranges.get(name, (low, high))
        ranges[name] = (min(before[0], low), max(before[1], high))

    values = fixed_values(network)
    with no_grad():
        for batch in batches(network, inputs):
            run(network, batch, values, on_tensor=observe)
    return ranges
