"""What a network gives for samples, however many."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from secateur.ir import Network, Samples, joined, samples_of
from secateur.twin.execute import fixed_values, run
from secateur.twin.feeds import batches


def outputs_of(
    network: Network, inputs: Samples, on_tensor: Callable[[str, Tensor], Tensor | None] | None = None
) -> Samples:
    """Return all outputs of a network.

    Args:
        network: with its own weights and tables.
        inputs: (samples, …) of each input.
        on_tensor: as for `secateur.twin.run`.
    """
    values = fixed_values(network)
    with torch.no_grad():
        found = [run(network, batch, values, on_tensor=on_tensor).values() for batch in batches(network, inputs)]
    return joined([samples_of([value.numpy() for value in part]) for part in found])
