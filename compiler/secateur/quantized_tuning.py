"""Quantization-aware tuning: the ladder goes on being tuned while it sees what its int8 files will round.

Jacob et al.: Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference, CVPR 2018. All
rungs share the rounded weights here as they do in the base, so that what is tuned is what is shipped.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from secateur.ir import PRECISIONS, Network, Samples, Table
from secateur.ir.groups import KeepKey, keep_key
from secateur.load import Task
from secateur.master import Master, subnetwork_at
from secateur.quantization import parameters, rounding
from secateur.quantizing import quantize_rung
from secateur.tuning import Rounding, SandwichSettings, Statistics, Subnetwork, distil, hold_zeros, statistics_of
from secateur.writing import rung_file

LEARNING_RATE = 0.002
"""A small part of what tuning in float takes: weights only have to find good steps near their places."""


@dataclass(frozen=True)
class QuantizedTuning:
    """What tuning in int8 did to the metric of the files of the tuned networks, on validation.

    Attributes:
        precision: that it saw.
        steps: that it took.
        before: key of keep-counts → metric with post-training quantization alone.
        after: the same with tuning in int8.
        kept: whether it is shipped: it is not if the files are worse for it, on average.
    """

    precision: str
    steps: int
    before: dict[KeepKey, float]
    after: dict[KeepKey, float]
    kept: bool

    @property
    def mean_before(self) -> float:
        """Of the files without."""
        return sum(self.before.values()) / len(self.before)

    @property
    def mean_after(self) -> float:
        """Of the files with it."""
        return sum(self.after.values()) / len(self.after)


def quantized_precision(precisions: Sequence[str]) -> str:
    """Return the first of these precisions that has int8 activations, or nothing if none has."""
    return next((each for each in precisions if PRECISIONS[each].activations), "")


def told(found: QuantizedTuning) -> str:
    """Return a line for the user."""
    before, after = 100 * found.mean_before, 100 * found.mean_after
    what = "" if found.kept else "; it is not kept"
    return (
        f"tuning in {found.precision}: the files' metric on validation goes from {before:.2f} to {after:.2f} %, mean{what}"
    )


def better_in_int8(
    master: Master, tuned: Master, precision: str, steps: int, judged: Samples, metric: Callable[[bytes], float]
) -> tuple[Master, QuantizedTuning]:
    """Keep what tuning in int8 made of a ladder if its files are better for it.

    Args:
        master: before.
        tuned: after.
        precision: of the files.
        steps: that tuning took.
        judged: validation inputs, on which calibrators are compared.
        metric: of a file, on validation.

    Returns:
        The master to ship, and what was found.
    """
    before, after = (_metrics(each, precision, judged, metric) for each in (master, tuned))
    kept = sum(after.values()) >= sum(before.values())
    return (tuned if kept else master), QuantizedTuning(precision, steps, before, after, kept)


def _metrics(master: Master, precision: str, judged: Samples, metric: Callable[[bytes], float]) -> dict[KeepKey, float]:
    found = {}
    for keep, _ in master.goals:
        index = master.index(keep)
        made = quantize_rung(master, master.rung_network(keep), index, precision, judged)
        found[keep_key(keep)] = round(metric(rung_file(master, made.network, index, precision, made.ranges)), 6)
    return found


def tune_quantized(
    master: Master,
    teacher: Network,
    task: Task,
    precision: str,
    settings: SandwichSettings,
    judged: Samples,
    on_step: Callable[[int, float], None],
) -> Master:
    """Go on tuning a ladder in int8.

    Args:
        master: tuned in float, or solved in closed form.
        teacher: the original, sorted like the master.
        task: training data.
        precision: with int8 activations.
        settings: how long and how hard; between rungs nothing is tuned here.
        judged: validation inputs, on which calibrators are compared.
        on_step: told the step and its loss.

    Returns:
        The master. Weights that were exactly zero still are, so that a pruned base keeps its pattern.
    """
    symmetric = PRECISIONS[precision].symmetric
    subnetworks, hooks = [], []
    for keep, goals in master.goals:
        made = quantize_rung(master, master.rung_network(keep), master.index(keep), precision, judged)
        assert made.ranges is not None
        subnetworks.append(_as_it_is(master, keep, goals))
        found = parameters(made.network, made.ranges, symmetric)
        hooks.append(rounding(made.network, set(master.quantized), found, symmetric))
    weights, tables = distil(
        master.network,
        subnetworks,
        task.inputs("train"),
        settings,
        task.targets("train") if task.loss is not None else None,
        task.loss,
        on_step,
        teacher=teacher,
        after_step=hold_zeros(master.network.weights),
        rounding=Rounding(tuple(master.quantized), hooks),
    )
    tuned = [(dict(keep), statistics_of(private)) for (keep, _), private in zip(master.goals, tables)]
    return replace(master, network=master.network.with_values(weights=weights), goals=tuned)


def _as_it_is(master: Master, keep: dict[str, int], goals: dict[str, Statistics]) -> Subnetwork:
    """A rung as tuning left it: the table of the output, which is not normalised, is among the goals as scale and shift."""
    made = subnetwork_at(master.network, master.groups, keep, goals)
    network = made.network
    last = {n.attrs["table"] for n in network.nodes if n.op == "Affine" and n.output in network.outputs}
    tables = {t: Table(goals[t].deviation.astype(np.float32), goals[t].mean.astype(np.float32)) for t in last}
    return replace(made, network=network.with_values(tables={**network.tables, **tables}))
