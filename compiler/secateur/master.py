"""The master: the one network from which every rung of every profile is cut, and how it is tuned."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from secateur.ir import Groups, Network, QuantizedWeight, Table
from secateur.ir.groups import Keep
from secateur.load import Task
from secateur.pruning import cut
from secateur.quantization import quantize_weights
from secateur.search import Plan
from secateur.tuning import SandwichSettings, Statistics, Subnetwork, distil, fold_statistics, measure_statistics

Array = NDArray[np.float32]
Indexes = dict[str, tuple[NDArray[np.int64], NDArray[np.int64]]]


@dataclass
class Master:
    """What every rung of every profile is cut from.

    Attributes:
        network: the full network, sorted and tuned; its weights are the base.
        groups: its channel groups.
        scores: group id → importance per channel, in sorted order.
        goals: for each network that was tuned, its keep-counts and the statistics its channels should have.
        calibration: inputs, (samples, …).
    """

    network: Network
    groups: Groups
    scores: dict[str, NDArray[np.float64]]
    goals: list[tuple[dict[str, int], dict[str, Statistics]]]
    calibration: Array
    quantized: dict[str, QuantizedWeight] = field(init=False)

    def __post_init__(self) -> None:
        self.quantized = quantize_weights(self.network.weights)

    def base(self, precision: str) -> dict[str, NDArray[np.generic]]:
        """Return the base tensors of a precision."""
        if precision == "int8":
            return {name: weight.values for name, weight in self.quantized.items()}
        return {name: weight.astype("<f4") for name, weight in self.network.weights.items()}

    def index(self, keep: Keep) -> Indexes:
        """Return weight → kept rows and columns."""
        return {name: self._index(name, weight.shape, keep) for name, weight in self.network.weights.items()}

    def _index(self, name: str, shape: tuple[int, ...], keep: Keep) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        first, second = (self.groups.kept((f"weight:{name}", axis), shape[axis], keep) for axis in (0, 1))
        return first, second

    def rung_network(self, keep: Keep) -> Network:
        """Return the network at these keep-counts with private tables that fit them.

        A network that was tuned has its own statistics; one in between takes those of the next larger tuned one.
        """
        small = cut(self.network, self.groups, keep)
        if dict(keep) == self.goals[0][0] and not self.tuned:
            return small
        larger = [(k, g) for k, g in self.goals if all(k[group] >= count for group, count in keep.items())]
        nearest, goals = min(larger, key=lambda item: sum(item[0].values()))
        tables = {name: self._restrict(name, goal, nearest, keep) for name, goal in goals.items()}
        return small.with_values(tables=fold_statistics(small, tables, self.calibration))

    @property
    def tuned(self) -> bool:
        """Whether the shared weights were tuned, so that even the full network has private statistics of its own."""
        return len(self.goals) > 1

    def _restrict(self, name: str, goal: Statistics, larger: Keep, keep: Keep) -> Table:
        size = self.network.tables[name].scale.size
        chosen = np.isin(
            self.groups.kept((f"table:{name}", 0), size, larger), self.groups.kept((f"table:{name}", 0), size, keep)
        )
        return Table(goal.deviation[chosen], goal.mean[chosen])


def tune_master(
    network: Network,
    groups: Groups,
    scores: dict[str, NDArray[np.float64]],
    ladders: list[list[Plan]],
    task: Task,
    settings: SandwichSettings,
    on_step: Callable[[int, float], None],
) -> Master:
    """Tune the rungs of all ladders at once.

    Args:
        network: the full network, sorted.
        groups: its channel groups.
        scores: group id → importance per channel, in sorted order.
        ladders: the planned rungs of each profile.
        task: training data; calibration data alone if no step is asked for.
        settings: how long and how hard.
        on_step: told the step and its loss.
    """
    calibration = task.inputs("calibration")
    statistics = measure_statistics(network, calibration)
    unique = {tuple(sorted(p.keep.items())): p for plans in ladders for p in plans}
    keeps = [p.keep for p in sorted(unique.values(), key=lambda p: -p.macs)]
    full = (groups.full(), statistics)
    if settings.steps == 0 or len(keeps) < 2:
        return Master(network, groups, scores, [full], calibration)
    shape = {name: weight.shape for name, weight in network.weights.items()}
    subnetworks = []
    for keep in keeps:
        index = {
            n: (groups.kept((f"weight:{n}", 0), s[0], keep), groups.kept((f"weight:{n}", 1), s[1], keep))
            for n, s in shape.items()
        }
        goals = {
            n: Statistics(*(v[groups.kept((f"table:{n}", 0), len(v), keep)] for v in (goal.mean, goal.deviation)))
            for n, goal in statistics.items()
        }
        subnetworks.append(Subnetwork(cut(network, groups, keep), index, goals))
    labels = task.targets("train") if task.loss is not None else None
    weights, tables = distil(
        network,
        subnetworks,
        task.inputs("train"),
        settings,
        labels,
        task.loss,
        on_step,
    )
    tuned = [
        (dict(keep), {n: Statistics(t.shift.astype(np.float64), t.scale.astype(np.float64)) for n, t in private.items()})
        for keep, private in zip(keeps, tables)
    ]
    return Master(network.with_values(weights=weights), groups, scores, tuned, calibration)
