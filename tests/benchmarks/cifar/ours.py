"""Secateur's side of the comparison on ResNet-20: networks on its path, tuned by themselves or as one ladder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from secateur.criteria import Evidence, score
from secateur.graph import find_groups
from secateur.ir import Groups, Network
from secateur.ir.groups import Keep
from secateur.load import Task, export_module
from secateur.master import Master, subnetwork_of, tune_master, untuned_master
from secateur.probing import Probe
from secateur.pruning import cut, sort_groups
from secateur.search import Costs, Losses, Step, measured_losses, shrink_path
from secateur.search.exchange import exchange
from secateur.search.path import widths
from secateur.search.planner import Plan
from secateur.tuning import SandwichSettings, distil, statistics_of
from secateur.twin import fixed_values, run
from secateur.writing import file_of

from .data import Array, trained

CRITERION = "group-l2"


@dataclass
class Ours:
    """The original in normal form, sorted, and what cutting each of its groups costs."""

    task: Task
    network: Network
    groups: Groups
    costs: Costs
    losses: Losses

    def share(self, keep: Keep) -> float:
        """Return multiply-accumulates as a share of the full network's."""
        return self.costs.macs(keep) / self.costs.macs(self.groups.full())

    def loss(self, keep: Keep) -> float:
        """Return the sum of what cutting each group by itself costs."""
        return float(sum(self.losses[name][count] for name, count in keep.items() if name in self.losses))

    def ladder(self, limits: Sequence[float], cost: Callable[[Keep], float], grid: int) -> list[dict[str, int]]:
        """Return nested networks, one for each limit, planned as Secateur plans: on its path, then improved by exchange.

        Args:
            limits: most cost of each network, falling.
            cost: share of multiply-accumulates or of planned latency.
            grid: keep-counts are multiples of it.
        """
        path = shrink_path(self.groups, self.losses, cost, grid)
        rungs = [next((step.keep for step in path if step.latency_ms <= limit), path[-1].keep) for limit in limits]
        options = widths(self.groups, self.losses, grid)
        return exchange([self.groups.full(), *rungs], options, self.losses, cost, self.costs.params)[1:]

    def file(self, keep: Keep) -> bytes:
        """Return the model file of the cut network, untuned, for timing."""
        return file_of(cut(self.network, self.groups, keep), self.task.inputs("calibration"), "fp32")


def prepared(task: Task, criterion: str = CRITERION) -> Ours:
    """Bring the trained network to normal form, rank its channels and measure what cutting costs."""
    network = export_module(trained(), task.input_shape)
    groups = find_groups(network)
    evidence = Evidence(network, groups, task.inputs("calibration"), task.targets("calibration"), task.loss)
    network = sort_groups(network, groups, score(criterion, evidence))
    losses = measured_losses(groups, Probe(network, groups, task.inputs("calibration")).distance)
    return Ours(task, network, groups, Costs(network, groups), losses)


def tune_alone(ours: Ours, keep: Keep, settings: SandwichSettings) -> Network:
    """Tune one network by itself: no other shares its weights."""
    task = ours.task
    before = untuned_master(ours.network, ours.groups, {}, task).goals[0][1]
    alone = subnetwork_of(ours.network, ours.groups, keep, before)
    weights, tables = distil(ours.network, [alone], task.inputs("train"), settings, task.targets("train"), task.loss, _quiet)
    found = statistics_of(tables[0])
    master = Master(ours.network.with_values(weights=weights), ours.groups, {}, [], task.inputs("calibration"))
    master.goals = [(dict(keep), found), (dict(keep), found)]
    return master.rung_network(keep)


def _quiet(step: int, loss: float) -> None:
    """Tuning tells its steps; here nobody listens."""
    del step, loss


def tune_nested(ours: Ours, keeps: Sequence[Keep], settings: SandwichSettings) -> list[Network]:
    """Tune the full network and these as one ladder; return all, the full one first."""
    master = tuned_ladder(ours, keeps, settings)
    return [master.rung_network(keep) for keep in [ours.groups.full(), *keeps]]


def tuned_ladder(ours: Ours, keeps: Sequence[Keep], settings: SandwichSettings) -> Master:
    """Tune the full network and these as one ladder.

    The largest rung is not protected: that is judged on validation images, and the original was trained on these.
    """
    every = [ours.groups.full(), *keeps]
    macs = [ours.costs.macs(keep) for keep in every]
    plans = [Plan(dict(keep), m / 1e6, 0.0, 0.0, 0.0, m, ours.costs.params(keep)) for keep, m in zip(every, macs)]
    path = [Step(dict(keep), m / 1e6) for keep, m in zip(every, macs)]
    return tune_master(ours.network, ours.groups, {}, [plans], path, ours.task, settings, _quiet)


def accuracy(network: Network, task: Task, split: str) -> float:
    """Return top-1 accuracy of a network, run in torch."""
    labels = task.targets(split)
    assert labels is not None
    return _share_right(
        lambda x: next(iter(run(network, {next(iter(network.inputs)): x}, fixed_values(network)).values())),
        task.inputs(split),
        labels,
    )


def accuracy_of_module(module: torch.nn.Module, task: Task, split: str) -> float:
    """Return top-1 accuracy of a torch module."""
    labels = task.targets(split)
    assert labels is not None
    return _share_right(module, task.inputs(split), labels)


def _share_right(model: Callable[[torch.Tensor], torch.Tensor], x: Array, y: NDArray[np.generic]) -> float:
    with torch.no_grad():
        return float((model(torch.from_numpy(x)).numpy().argmax(1) == y).mean())
