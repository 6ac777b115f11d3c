"""Which networks are compared: the peer's at its points, and Secateur's that do no more work or take no more time.

Structures are found once, on a quiet machine, and kept in a file beside the rows: all seeds train the same networks.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from secateur.assembly import file_of
from secateur.evaluation import time_interleaved
from secateur.load import export_module
from secateur.measuring import measure_table
from secateur.search import MeasuredTable
from secateur_profiles import load as load_profile

from ..case import say
from . import peer
from .data import Array, ResNet20, trained
from .ours import Ours

WORK = (0.75, 0.5, 0.35, 0.25)
TIME = (0.83, 0.58, 0.42, 0.36)
VARIANTS = ("inner-l2", "inner-taylor", "all-l2")
GRID = 8
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
    """Measure work and time of the peer's networks and of the points of Secateur's path; read them if they were measured.

    Returns:
        ``peer``: variant/point → share of work and of time; ``path``: Secateur's networks by planned latency, with theirs.
        Times are of fp32 files written by the same writer, in turns with the full network's, in ONNX Runtime, one thread.
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
    steps = ours.path(lambda keep: table.latency_ms(ours.costs, keep), GRID)
    say(f"Secateur's path by a measured table has {len(steps)} points")
    files += [ours.file(step.keep) for step in steps[1:]]
    times = [timing.p50_ms for timing in time_interleaved(files, "fp32", 1, _ROUNDS)]
    shares = [time / times[0] for time in times]
    found = {
        "full_ms": times[0],
        "peer": {name: {"work": work[name], "time": share} for name, share in zip(names, shares[1:])},
        "path": [
            {"keep": step.keep, "work": ours.share(step.keep), "time": share}
            for step, share in zip(steps[1:], shares[1 + len(names) :])
        ],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    return found
