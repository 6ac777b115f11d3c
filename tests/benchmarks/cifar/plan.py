"""Which networks are compared: the peer's at its points, and Secateur's that do no more work or take no more time.

Structures are found once, on a quiet machine, and kept in a file beside the rows: all seeds train the same networks.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch

from secateur.evaluation import time_interleaved
from secateur.ir.groups import Keep, keep_key
from secateur.load import export_module
from secateur.measuring import measure_table
from secateur.search import MeasuredTable
from secateur.search.path import widths
from secateur.writing import file_of
from secateur_profiles import load as load_profile

from ..case import say
from . import peer
from .data import Array, ResNet20, trained
from .ours import Ours

WORK = (0.75, 0.5, 0.35, 0.25)
TIMED = ("inner-l2/0.75", "inner-l2/0.5", "all-l2/0.35", "all-l2/0.25")
"""The peer's networks whose times are points of the comparison, from slow to fast."""
VARIANTS = ("inner-l2", "inner-taylor", "all-l2")
GRID, WORK_GRID = 8, 4
NEAR = (0.9, 1.08, 10)
"""Secateur's networks are planned for latencies near those of the peer's: times a factor from … to, so many."""
BANDS = (0.91, 0.94, 0.97, 1.0, 1.03)
"""Of their neighbours, those are measured too that lose least in each of these bands of planned time."""
EACH = 6
_ROUNDS = 25


def cut_peer(original: ResNet20, variant: str, work: float, images: Array, labels: Any) -> torch.nn.Module:
    """Return the peer's network of a variant nearest to a share of the work."""
    cutters: dict[str, Callable[[float], torch.nn.Module]] = {
        "inner-l2": lambda ratio: peer.cut_inner(original, ratio),
        "inner-taylor": lambda ratio: peer.cut_inner_taylor(original, ratio, images, labels),
        "all-l2": lambda ratio: peer.cut_all(original, ratio),
    }
    return peer.at_work(cutters[variant], work, peer.macs(original))


def survey(ours: Ours, path: Path) -> dict[str, Any]:
    """Plan Secateur's networks; measure work and time of the peer's and time of both; read all that if it is there.

    It should be measured while nothing else runs: so trainings wait for it.

    Returns:
        ``peer``: variant/share → share of work and of time; ``ours``: Secateur's networks by planned latency, with their
        work, time and summed loss. Times are of fp32 files written by the same writer, in turns with the full network's, in
        ONNX Runtime, one thread.
    """
    if path.exists():
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return found
    original = trained()
    images, labels = ours.task.inputs("calibration"), ours.task.targets("calibration")
    full = peer.macs(original)
    files, names, work = [ours.file(ours.groups.full())], [], {}
    for variant in VARIANTS:
        for point in WORK:
            network = cut_peer(original, variant, point, images, labels)
            names.append(f"{variant}/{point}")
            work[names[-1]] = peer.macs(network) / full
            files.append(file_of(export_module(network, ours.task.input_shape), images, "fp32"))
    say(f"the peer's work: {', '.join(f'{name} {share:.3f}' for name, share in work.items())}")
    profile = load_profile("linux-x86-64")
    table = MeasuredTable(measure_table(profile, "fp32", ours.network), profile)
    whole_ms = table.latency_ms(ours.costs, ours.groups.full())

    def share(keep: Keep) -> float:
        return table.latency_ms(ours.costs, keep) / whole_ms

    full_ms, *theirs = (timing.p50_ms for timing in time_interleaved(files, "fp32", 1, _ROUNDS))
    known_ms = dict(zip(names, theirs))
    limits = [factor * known_ms[name] / full_ms for name in TIMED for factor in np.linspace(*NEAR)]
    planned = [ours.ladder([limit], share, GRID)[0] for limit in limits]
    planned += [keep for name in TIMED for keep in _best_near(ours, planned, share, known_ms[name] / full_ms)]
    planned = list({keep_key(keep): keep for keep in planned}.values())
    say(f"Secateur planned {len(planned)} networks by a measured table")
    files += [ours.file(keep) for keep in planned]
    times = [timing.p50_ms for timing in time_interleaved(files, "fp32", 1, _ROUNDS)]
    shares = [time / times[0] for time in times]
    found = {
        "full_ms": times[0],
        "peer": {name: {"work": work[name], "time": share} for name, share in zip(names, shares[1:])},
        "ours": [
            {"keep": keep, "work": ours.share(keep), "time": share, "loss": ours.loss(keep)}
            for keep, share in zip(planned, shares[1 + len(names) :])
        ],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    return found


def _best_near(
    ours: Ours, planned: Sequence[dict[str, int]], share: Callable[[Keep], float], time: float
) -> list[dict[str, int]]:
    """Return neighbours of planned networks, one or two groups a step apart, that lose least near a time."""
    options = widths(ours.groups, ours.losses, GRID)
    found = {keep_key(keep): keep for keep in planned}
    for _ in range(2):
        for keep in list(found.values()):
            for group, counts in options.items():
                place = counts.index(keep[group])
                for count in counts[max(0, place - 1) : place + 2]:
                    other = {**keep, group: count}
                    if BANDS[0] * time < share(other) <= BANDS[-1] * time:
                        found[keep_key(other)] = other
    kept = []
    for low, high in pairwise(BANDS):
        inside = [keep for keep in found.values() if low * time < share(keep) <= high * time]
        kept += sorted(inside, key=ours.loss)[:EACH]
    return kept
