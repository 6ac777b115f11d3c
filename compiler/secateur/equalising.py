"""Ranges of channels are evened out once, in the base, if int8 files are better for it: `secateur.quantization.equalise`.

Every rung computes what it did: what its private tables are divided by, the shared weights that read them are multiplied by.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import torch

from secateur.evaluation import Session
from secateur.ir import Samples, Table, arrays_of
from secateur.master import Master
from secateur.quantization import equalise
from secateur.quantizing import judged_on
from secateur.tuning import Statistics
from secateur.twin import outputs_of
from secateur.twin.distance import output_distance
from secateur.writing import program_of

STRENGTHS = (1.0, 0.5)
LEAST_GAIN = 0.1
"""Of the distance: less is chance, and not worth other weights."""


def equalised(master: Master, strength: float = 1.0) -> Master:
    """Return the master with channels of similar ranges; its rungs compute the same.

    Args:
        master: tuned or not.
        strength: 1 for ranges as even in activations as in the weights that read them, 0 for no change.
    """
    found = equalise(master.rung_network(master.groups.full()), master.calibration, strength)
    weights = dict(master.network.weights)
    for name, (axis, factor) in found.weights.items():
        shape = [1] * weights[name].ndim
        shape[axis] = -1
        weights[name] = (weights[name] * factor.reshape(shape)).astype(np.float32)
    tables = dict(master.network.tables)
    for name, factor in found.tables.items():
        table = tables[name]
        tables[name] = Table((table.scale / factor).astype(np.float32), (table.shift / factor).astype(np.float32))
    goals = []
    for keep, statistics in master.goals:
        divided = dict(statistics)
        for name in found.tables.keys() & statistics.keys():
            kept = master.groups.kept((f"table:{name}", 0), found.tables[name].size, keep)
            factor = found.tables[name][kept]
            divided[name] = Statistics(statistics[name].mean / factor, statistics[name].deviation / factor)
        goals.append((keep, divided))
    return replace(master, network=master.network.with_values(weights=weights, tables=tables), goals=goals)


def equalise_if_better(master: Master, precision: str, judged: Samples) -> tuple[Master, str]:
    """Even out ranges, and keep that if the largest and the smallest tuned network come nearer to themselves in float.

    Networks with a batch norm behind every layer rarely need it; those that were folded or trained without one may.

    Args:
        master: tuned or not.
        precision: with int8 activations.
        judged: validation inputs.

    Returns:
        The master to go on with, and a line for the user; empty if it is the same master.
    """
    before = _distance(master, precision, judged)
    tried = [(_distance(other, precision, judged), other) for other in (equalised(master, each) for each in STRENGTHS)]
    after, best = min(tried, key=lambda each: each[0])
    if not after < (1 - LEAST_GAIN) * before:
        return master, ""
    return best, (
        f"channels were brought to similar ranges: with {precision}, outputs are {after:.3g} from the float ones, not "
        f"{before:.3g} (the distance that tuning minimises)"
    )


def _distance(master: Master, precision: str, judged: Samples) -> float:
    """Of int8 outputs from those in float, the sum of the largest and the smallest network that was tuned.

    Calibrators and corrections come later: they help either.
    """
    total = 0.0
    for keep in {id(keep): keep for keep in (master.goals[0][0], master.goals[-1][0])}.values():
        network, index = master.rung_network(keep), master.index(keep)
        few = judged_on(network, judged)
        data = program_of(master, network, index, precision).recipe(master.base(precision))[1]
        got, expected = (arrays_of(each) for each in (Session(data).outputs(few), outputs_of(network, few)))
        pairs = [(torch.from_numpy(a), torch.from_numpy(b)) for a, b in zip(got, expected)]
        total += sum(float(output_distance(a, b)) for a, b in pairs if b.is_floating_point())
    return total if math.isfinite(total) else math.inf
