"""How far a cut network is from the full one, before anything is tuned: what the search asks again and again."""

from __future__ import annotations

import torch

from secateur.dropping import cut_statistics
from secateur.ir import Groups, Network, Samples, arrays_of, take
from secateur.ir.groups import Keep
from secateur.pruning import cut
from secateur.tuning import measure_statistics, recalibrated_outputs
from secateur.twin import batches, fixed_values, run
from secateur.twin.distance import output_distance

SAMPLES, FEWEST = 256, 16
ELEMENTS = 1 << 21
"""Large inputs are fewer: a probe must take a fraction of a second."""


class Probe:
    """Cuts a sorted network at any keep-counts, recalibrates, and compares outputs.

    Args:
        network: the full network, sorted.
        groups: its channel groups.
        inputs: calibration inputs, (samples, …); at most `SAMPLES` of them are used, at least `FEWEST` if there are.
    """

    def __init__(self, network: Network, groups: Groups, inputs: Samples) -> None:
        self._network, self._groups = network, groups
        size = sum(array[0].size for array in arrays_of(inputs))
        self._inputs = take(inputs, slice(0, max(FEWEST, min(SAMPLES, ELEMENTS // max(1, size)))))
        self._statistics = measure_statistics(network, self._inputs)
        with torch.no_grad():
            values = fixed_values(network)
            parts = [run(network, batch, values) for batch in batches(network, self._inputs)]
        self._expected = {name: torch.cat([part[name] for part in parts]) for name in network.outputs}

    def distance(self, keep: Keep) -> float:
        """Return the distance of the outputs of the network at ``keep`` from the full network's, summed over outputs."""
        small = cut(self._network, self._groups, keep)
        goals = cut_statistics(self._groups, keep, self._statistics)
        got = recalibrated_outputs(small, goals, self._inputs)
        pairs = [(got[name], value) for name, value in self._expected.items() if value.is_floating_point()]
        return sum(float(output_distance(found, expected)) for found, expected in pairs)
