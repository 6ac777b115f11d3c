"""How far a cut network is from the full one, before anything is tuned: what the search asks again and again."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from secateur.ir import Groups, Network
from secateur.ir.groups import Keep
from secateur.pruning import cut
from secateur.tuning import Statistics, measure_statistics, recalibrate
from secateur.twin import fixed_values, run
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

    def __init__(self, network: Network, groups: Groups, inputs: NDArray[np.float32]) -> None:
        self._network, self._groups = network, groups
        self._inputs = inputs[: max(FEWEST, min(SAMPLES, ELEMENTS // max(1, inputs[0].size)))]
        self._statistics = measure_statistics(network, self._inputs)
        self._expected = self._outputs(network)

    def distance(self, keep: Keep) -> float:
        """Return the distance of the outputs of the network at ``keep`` from the full network's, summed over outputs."""
        small = cut(self._network, self._groups, keep)
        goals = {
            name: Statistics(*(v[self._groups.kept((f"table:{name}", 0), len(v), keep)] for v in (s.mean, s.deviation)))
            for name, s in self._statistics.items()
            if name in small.tables
        }
        small = small.with_values(tables=recalibrate(small, goals, self._inputs))
        got = self._outputs(small)
        return sum(float(output_distance(got[name], expected)) for name, expected in self._expected.items())

    def _outputs(self, network: Network) -> dict[str, torch.Tensor]:
        name = next(iter(network.inputs))
        with torch.no_grad():
            return run(network, {name: torch.from_numpy(self._inputs)}, fixed_values(network))
