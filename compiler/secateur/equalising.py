"""Ranges of channels are evened out once, in the base, if int8 files are better for it: `secateur.quantization.equalise`.

Every rung computes what it did: what its private tables are divided by, the shared weights that read them are multiplied by.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np

from secateur.ir import Samples, Table
from secateur.master import Master
from secateur.quantization import Equalisation, equalise
from secateur.quantizing import file_distance, judged_on
from secateur.tuning import Statistics
from secateur.twin import outputs_of
from secateur.writing import rung_file

STRENGTHS = (1.0, 0.5)
LEAST_GAIN = 0.1
"""Of the distance: less is chance, and not worth other weights."""


def equalised(master: Master, found: Equalisation) -> Master:
    """Return the master with channels of similar ranges; its rungs compute the same.

    Args:
        master: tuned or not.
        found: what evens out the ranges of its full network.
    """
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
    """Even out ranges, and keep that if the largest network comes nearer to itself in float.

    Networks with a batch norm behind every layer rarely need it; those that were folded or trained without one may.

    Args:
        master: tuned or not.
        precision: with int8 activations.
        judged: validation inputs.

    Returns:
        The master to go on with, and a line for the user; empty if it is the same master.
    """
    network = master.rung_network(master.groups.full())
    few = judged_on(network, judged)
    distance = partial(_distance, precision=precision, few=few, expected=outputs_of(network, few))
    found = equalise(network, master.calibration)
    before = distance(master)
    tried = [(distance(other), other) for other in (equalised(master, found.at(each)) for each in STRENGTHS)]
    after, best = min(tried, key=lambda each: each[0])
    if not after < (1 - LEAST_GAIN) * before:
        return master, ""
    return best, (
        f"channels were brought to similar ranges: with {precision}, outputs are {after:.3g} from the float ones, not "
        f"{before:.3g} (the distance that tuning minimises)"
    )


def _distance(master: Master, precision: str, few: Samples, expected: Samples) -> float:
    """Of the largest network's int8 outputs from those in float; calibrators and corrections come later, and help either."""
    keep = master.groups.full()
    return file_distance(rung_file(master, master.rung_network(keep), master.index(keep), precision), few, expected)
