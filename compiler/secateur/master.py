"""The master: the one network from which every rung of every profile is cut, and how it is tuned."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray

from secateur.dropping import cut_statistics, repaired
from secateur.ir import PRECISIONS, Groups, Network, QuantizedWeight, Samples, Table, sample_count, single
from secateur.ir.groups import Keep, keep_key
from secateur.load import Task
from secateur.pruning import cut
from secateur.quantization import quantize_weights
from secateur.search import Costs, Plan, Step
from secateur.tuning import (
    Between,
    Mixture,
    SandwichSettings,
    Statistics,
    Subnetwork,
    distil,
    fold_statistics,
    measure_statistics,
    reconstruct,
    statistics_of,
)

Array = NDArray[np.float32]
Array64 = NDArray[np.float64]
BETWEEN_RATIO = 1.3
"""Between two rungs, about one more network is tuned for each such ratio of work, so that later cuts there work."""

AMPLE = 1000
"""With so many training samples tuning begins at the original's weights: those that were solved on a few hundred have
forgotten what the few did not show, and cost one to two points on ResNet-20 (CIFAR-10)."""

Indexes = dict[str, tuple[NDArray[np.int64], ...]]
"""Weight → kept indices of each of its axes."""


@dataclass
class Master:
    """What every rung of every profile is cut from.

    Attributes:
        network: the full network, sorted and tuned; its weights are the base.
        groups: its channel groups.
        scores: group id → importance per channel, in sorted order.
        goals: for each network that was tuned, its keep-counts and the statistics its channels should have.
        calibration: samples of the inputs.
        floating: weights of layers that stay float in files of integers.
    """

    network: Network
    groups: Groups
    scores: dict[str, NDArray[np.float64]]
    goals: list[tuple[dict[str, int], dict[str, Statistics]]]
    calibration: Samples
    floating: frozenset[str] = frozenset()

    @cached_property
    def quantized(self) -> dict[str, QuantizedWeight]:
        """The other weights in int8, as the base has them."""
        floating = self.network.constants | self.floating
        return quantize_weights({n: w for n, w in self.network.weights.items() if n not in floating})

    def base(self, precision: str) -> dict[str, NDArray[np.generic]]:
        """Return the base tensors of a precision; what is never quantized to integers is float in each."""
        kind = PRECISIONS[precision]
        integers: dict[str, NDArray[np.generic]] = {n: w.values for n, w in self.quantized.items()} if kind.integer else {}
        return {
            name: kind.stored(weight) for name, weight in self.network.weights.items() if name not in integers
        } | integers

    def index(self, keep: Keep) -> Indexes:
        """Return what is left of each axis of each weight."""
        return _indexes(self.network, self.groups, keep)

    def rung_network(self, keep: Keep) -> Network:
        """Return the network at these keep-counts with private tables that fit them.

        A network that was tuned has its own statistics; one in between has a mixture of its tuned neighbours'.
        """
        keep = {**self.groups.full(), **keep}  # which neighbours are near is told by all counts
        small = cut(self.network, self.groups, keep)
        if keep == self.goals[0][0] and not self.tuned:
            return small
        if self.groups.dropped(keep) and not self.tuned:
            return repaired(self.network, self.groups, keep, self.goals[0][1], single(self.calibration, "--drop-blocks"))
        mixture = mixture_for(self.groups, self.network, [k for k, _ in self.goals], keep)
        larger = self.goals[mixture.larger][1]
        smaller = None if mixture.smaller is None else self.goals[mixture.smaller][1]
        tables = {}
        for name in small.tables:
            goal, other = larger[name], smaller.get(name) if smaller is not None else None
            gain = _mixed(mixture, name, goal.deviation, other.deviation if other else None)
            tables[name] = Table(gain, _mixed(mixture, name, goal.mean, other.mean if other else None))
        return small.with_values(tables=fold_statistics(small, tables, self.calibration))

    @property
    def tuned(self) -> bool:
        """Whether the shared weights were tuned, so that even the full network has private statistics of its own."""
        return len(self.goals) > 1


def _indexes(network: Network, groups: Groups, keep: Keep) -> Indexes:
    gone = groups.gone(keep)
    used = {name for node in network.nodes if node.output not in gone for name in node.weights}
    return {
        name: tuple(groups.kept((f"weight:{name}", axis), size, keep) for axis, size in enumerate(weight.shape))
        for name, weight in network.weights.items()
        if name in used
    }


def mixture_for(groups: Groups, network: Network, tuned: Sequence[Keep], keep: Keep) -> Mixture:
    """Return what private values at ``keep`` are made of.

    Args:
        groups: channel groups.
        network: the full network.
        tuned: keep-counts of the networks that have private values; one of them covers ``keep``.
        keep: keep-counts in question.
    """
    size = {index: sum(counts.values()) for index, counts in enumerate(tuned)}
    larger = min((i for i in size if _covers(tuned[i], keep)), key=lambda i: size[i])
    inside = [i for i in size if _covers(keep, tuned[i])]
    smaller = max(inside, key=lambda i: size[i]) if inside and dict(tuned[larger]) != dict(keep) else None
    widths = _widths(network, groups, keep)
    inner = {} if smaller is None else {n: w for n, w in _widths(network, groups, tuned[smaller]).items() if n in widths}
    span = size[larger] - size[smaller] if smaller is not None else 0
    return Mixture(
        larger=larger,
        of_larger={n: _positions(groups, n, width, tuned[larger], keep) for n, width in widths.items()},
        smaller=smaller,
        in_smaller={} if smaller is None else {n: _positions(groups, n, w, keep, tuned[smaller]) for n, w in inner.items()},
        share=(size[larger] - sum(keep.values())) / span if span else 0.0,
    )


def _mixed(mixture: Mixture, table: str, larger: Array64, smaller: Array64 | None) -> Array64:
    mixed = mixture.mix(table, torch.from_numpy(larger), None if smaller is None else torch.from_numpy(smaller))
    return np.asarray(mixed.numpy(), np.float64)


def _covers(larger: Keep, smaller: Keep) -> bool:
    return all(larger.get(key, 1) >= smaller.get(key, 1) for key in {**larger, **smaller})


def _widths(network: Network, groups: Groups, keep: Keep) -> dict[str, int]:
    """Table → channels in the full network, of the tables that are left."""
    gone = groups.gone(keep)
    tables = [node.attrs["table"] for node in network.nodes if node.op == "Affine" and node.output not in gone]
    return {name: network.tables[name].scale.size for name in tables}


def _positions(groups: Groups, table: str, size: int, larger: Keep, smaller: Keep) -> NDArray[np.int64]:
    """Where the channels that ``smaller`` keeps of a table lie among those that ``larger`` keeps."""
    axis = (f"table:{table}", 0)
    return np.flatnonzero(np.isin(groups.kept(axis, size, larger), groups.kept(axis, size, smaller)))


def subnetwork_of(network: Network, groups: Groups, keep: Keep, statistics: Mapping[str, Statistics]) -> Subnetwork:
    """Return what is cut from a sorted network at these keep-counts, as tuning sees it; ``statistics`` of all channels."""
    return subnetwork_at(network, groups, keep, cut_statistics(groups, keep, statistics))


def subnetwork_at(network: Network, groups: Groups, keep: Keep, goals: Mapping[str, Statistics]) -> Subnetwork:
    """Return the same with ``goals``, statistics of the channels that it keeps."""
    tables = {name: groups.kept((f"table:{name}", 0), t.scale.size, keep) for name, t in network.tables.items()}
    return Subnetwork(cut(network, groups, keep), _indexes(network, groups, keep), tables, goals)


def _rung(
    network: Network, groups: Groups, keep: Keep, statistics: Mapping[str, Statistics], calibration: Samples
) -> Subnetwork:
    """A subnetwork that begins at the full one's statistics, or without some blocks at those of the repaired network."""
    made = subnetwork_of(network, groups, keep, statistics)
    if groups.dropped(keep):
        whole = repaired(network, groups, keep, statistics, single(calibration, "--drop-blocks"))
        made.targets = measure_statistics(whole, calibration)
    return made


def _between(keeps: list[dict[str, int]], path: list[dict[str, int]], costs: Costs, groups: Groups) -> list[dict[str, int]]:
    """Choose points of the path between neighbouring rungs: about one for each `BETWEEN_RATIO` of work.

    They have the blocks of one of the two rungs: a later cut must have a rung's program.
    """
    found: list[dict[str, int]] = []
    for larger, smaller in pairwise(keeps):
        inside = [k for k in path if k not in keeps and _covers(larger, k) and _covers(k, smaller)]
        inside = [k for k in inside if groups.dropped(k) in (groups.dropped(larger), groups.dropped(smaller))]
        count = max(1, round(math.log(costs.macs(larger) / costs.macs(smaller)) / math.log(BETWEEN_RATIO)))
        wanted = np.linspace(0, len(inside) - 1, min(count, len(inside)) + 2)[1:-1].round().astype(int)
        found += [inside[index] for index in sorted(set(wanted.tolist()))]
    return found


def untuned_master(network: Network, groups: Groups, scores: dict[str, NDArray[np.float64]], task: Task) -> Master:
    """Return the master whose weights are the network's own.

    Args:
        network: the full network, sorted.
        groups: its channel groups.
        scores: group id → importance per channel, in sorted order.
        task: its calibration data are measured.
    """
    calibration = task.inputs("calibration")
    # The output is not normalised: its scale and shift stay, in tuned and untuned networks alike.
    plain = {n.attrs["table"] for n in network.nodes if n.op == "Affine" and n.output in network.outputs}
    kept = {
        name: Statistics(np.asarray(table.shift, np.float64), np.asarray(table.scale, np.float64))
        for name, table in network.tables.items()
        if name in plain
    }
    goals = {**measure_statistics(network, calibration), **kept}
    return Master(network, groups, scores, [(groups.full(), goals)], calibration)


def tune_master(
    network: Network,
    groups: Groups,
    scores: dict[str, NDArray[np.float64]],
    ladders: list[list[Plan]],
    path: list[Step],
    task: Task,
    settings: SandwichSettings,
    on_step: Callable[[int, float], None],
    teacher: Network | None = None,
    on_reconstructed: Callable[[Master], None] | None = None,
) -> Master:
    """Tune the rungs of all ladders at once.

    Args:
        network: the full network, sorted.
        groups: its channel groups.
        scores: group id → importance per channel, in sorted order.
        ladders: the planned rungs of each profile.
        path: nested keep-counts from which rungs are chosen, and later cuts too.
        task: training data; calibration data alone if no step is asked for.
        settings: how long and how hard.
        on_step: told the step and its loss.
        teacher: the original in the same order, if ``network`` has other weights already; else it is its own teacher.
        on_reconstructed: given the master that tuning begins with, whose weights were solved in closed form.
    """
    untuned = untuned_master(network, groups, scores, task)
    calibration, statistics = untuned.calibration, untuned.goals[0][1]
    unique = {keep_key(p.keep): p for plans in ladders for p in plans}
    keeps = [p.keep for p in sorted(unique.values(), key=lambda p: -p.macs)]
    if len(keeps) < 2:
        return untuned
    subnetworks = [_rung(network, groups, keep, statistics, calibration) for keep in keeps]
    solved = reconstruct(network, subnetworks, calibration)
    goals = [
        (dict(keep), {**cut_statistics(groups, keep, statistics), **found}) for keep, found in zip(keeps, solved.statistics)
    ]
    reconstructed = Master(network.with_values(weights=solved.weights), groups, scores, goals, calibration)
    if on_reconstructed is not None:
        on_reconstructed(reconstructed)
    if settings.steps == 0:
        return reconstructed
    few = sample_count(task.inputs("train")) < AMPLE
    if few:
        for subnetwork, found in zip(subnetworks, solved.statistics):
            subnetwork.targets = {**subnetwork.targets, **found}
    between = []
    for keep in _between(keeps, [step.keep for step in path], Costs(network, groups), groups):
        mixture = mixture_for(groups, network, keeps, keep)
        between.append(Between(subnetwork_of(network, groups, keep, statistics), mixture))
    labels = task.targets("train") if task.loss is not None else None
    weights, private_tables = distil(
        network,
        subnetworks,
        task.inputs("train"),
        settings,
        labels,
        task.loss,
        on_step,
        between,
        solved.weights if few else None,
        teacher,
    )
    tuned = [(dict(keep), statistics_of(private)) for keep, private in zip(keeps, private_tables)]
    return Master(network.with_values(weights=weights), groups, scores, tuned, calibration)
