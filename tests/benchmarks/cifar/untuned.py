"""Case ``untuned-vs-torch-pruning``: half the work, 200 unlabelled images, no gradient step."""

from __future__ import annotations

from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray

from secateur.criteria import Evidence, score
from secateur.graph import find_groups
from secateur.ir import Network
from secateur.load import Task, export_module
from secateur.master import tune_master
from secateur.probing import Probe
from secateur.pruning import sort_groups
from secateur.search import Costs, measured_losses, shrink_path
from secateur.search.planner import Plan
from secateur.tuning import SandwichSettings
from secateur.twin import fixed_values, run

from ..case import Measured, say
from .data import Array, Cifar, trained
from .peer import cut_inner, macs, recalibrate

GRID = 8


def measure(_work: object) -> list[Measured]:
    """Cut with both, at Torch-Pruning's own work or less."""
    task, original = Task(Cifar(), "CIFAR-10"), trained()
    images, test = task.inputs("calibration"), task.inputs("test")
    labels = task.targets("test")
    assert labels is not None
    theirs = cut_inner(original, 0.5)
    full_macs, their_macs = macs(original), macs(theirs)
    cut_only = _accuracy_of_module(theirs, test, labels)
    recalibrate(theirs, images)
    their_value = _accuracy_of_module(theirs, test, labels)
    say(f"Torch-Pruning: {their_macs / full_macs:.3f} of the work; cut {cut_only:.1%}, recalibrated {their_value:.1%}")
    found = _ours(task, their_macs)
    full, ours = (_accuracy(network, test, labels) for network in found)
    say(f"Secateur: {_share(found[1], full_macs)} of the work: {ours:.1%}; the largest rung of the same base {full:.1%}")
    case = (
        f"ResNet-20, CIFAR-10, 1,000 test images: {ours:.1%} against {their_value:.1%} (L2, inner channels, batch norms "
        f"recalibrated) at {their_macs / full_macs:.1%} of the work or less; the largest rung of the same base {full:.1%}"
    )
    return [Measured("untuned-vs-torch-pruning", case, 100 * (ours - their_value))]


def _ours(task: Task, budget_macs: int) -> tuple[Network, Network]:
    """Return the largest rung, and the one within the budget."""
    network = export_module(trained(), task.input_shape)
    groups = find_groups(network)
    network = sort_groups(network, groups, score("magnitude-l2", Evidence(network, groups)))
    costs, images = Costs(network, groups), task.inputs("calibration")
    losses = measured_losses(groups, Probe(network, groups, images).distance)
    path = shrink_path(groups, losses, lambda keep: costs.macs(keep) / 1e6, GRID)
    step = next(step for step in path if costs.macs(step.keep) <= budget_macs)
    plans = [Plan(s.keep, s.latency_ms, 0.0, 0.0, 0.0, costs.macs(s.keep), costs.params(s.keep)) for s in (path[0], step)]
    quiet = partial(lambda *_: None)
    master = tune_master(network, groups, {}, [plans], path, task, SandwichSettings(steps=0), quiet)
    return master.rung_network(path[0].keep), master.rung_network(step.keep)


def _share(network: Network, full_macs: int) -> str:
    groups = find_groups(network)
    return f"{Costs(network, groups).macs(groups.full()) / full_macs:.3f}"


def _accuracy(network: Network, x: Array, y: NDArray[np.generic]) -> float:
    with torch.no_grad():
        found = run(network, {next(iter(network.inputs)): torch.from_numpy(x)}, fixed_values(network))
    return float((next(iter(found.values())).numpy().argmax(1) == y).mean())


def _accuracy_of_module(module: torch.nn.Module, x: Array, y: NDArray[np.generic]) -> float:
    with torch.no_grad():
        return float((module(torch.from_numpy(x)).numpy().argmax(1) == y).mean())
