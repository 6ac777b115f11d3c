"""Case ``recut-accuracy``: how good a rung is that was cut later, and never tuned, between two that were."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from secateur.bundle.keys import Keys
from secateur.bundle.reader import BundleFolder
from secateur.evaluation import Session
from secateur.ir import SecateurError
from secateur.load import Task
from secateur.pipeline import CompileSettings, compile
from secateur.recutting import recut
from secateur.samples.smartwatch import SmartwatchTask, train_smartwatch
from secateur.search.choose import SAFETY
from secateur_agent.bundle.base import read_base
from secateur_agent.bundle.manifest import RungEntry
from secateur_agent.bundle.materialise import materialise_bytes
from secateur_agent.bundle.reader import load_recipe
from secateur_agent.protocol.messages import Constraints

from .case import Measured, say
from .networks import shared_keys

# As in the demonstration: the ladders of all of its devices are tuned together.
PROFILES = ("raspberry-pi-4b", "jetson-orin-nano", "android-phone")
STEPS = 150


@dataclass(frozen=True)
class _Point:
    """A rung: planned latency and accuracy (0 to 1) on validation and test windows together."""

    rung: str
    latency_ms: float
    accuracy: float


def measure(work: Path) -> list[Measured]:
    """Train, compile, re-cut midway between all neighbours of every ladder."""
    source, keys = SmartwatchTask(), shared_keys(work)
    network = train_smartwatch(source)
    task = Task(source, "secateur.samples.smartwatch:SmartwatchTask")
    folder = work / "smartwatch"
    compile(network, task, PROFILES, folder, "smartwatch", keys, CompileSettings(steps=STEPS))
    say(f"trained and compiled for {', '.join(PROFILES)}")
    found: list[tuple[float, str]] = []
    for profile in PROFILES:
        bundle = BundleFolder(folder / f"smartwatch-{profile}.bundle", keys.root)
        points = sorted(
            (_point(e, bundle.materialise(e.id), task) for e in bundle.manifest.rungs), key=lambda p: -p.latency_ms
        )
        say(f"{profile}: " + ", ".join(f"{p.rung} {p.latency_ms:.3f} ms {p.accuracy:.2%}" for p in points))
        for above, below in pairwise(points):
            found += _between(folder, profile, bundle, keys, task, above, below)
    worst, mean = min(found), float(np.mean([difference for difference, _ in found]))
    windows = sum(len(task.inputs(split)) for split in ("validation", "test"))
    case = (
        f"smartwatch exercises, {len(found)} re-cut rungs between neighbours of {len(PROFILES)} ladders, {windows} windows "
        f"of people never trained on; worst: {worst[1]}; mean {mean:+.2f}"
    )
    rows = [Measured("recut-accuracy", case, worst[0])]
    return rows + [Measured("recut-accuracy", text, difference) for difference, text in found]


def _between(
    folder: Path, profile: str, bundle: BundleFolder, keys: Keys, task: Task, above: _Point, below: _Point
) -> list[tuple[float, str]]:
    """Re-cut one rung; return its accuracy less the interpolated one, in points, and what it is."""
    middle_ms = (above.latency_ms + below.latency_ms) / 2
    pair = f"{profile}, between {above.rung} and {below.rung}"
    try:
        cut = recut(folder / "workspace", profile, Constraints(latency_ms=middle_ms / SAFETY), (), keys)
    except SecateurError as error:
        say(f"{pair}: not cut: {error}")
        return []
    base = read_base(next(bundle.path / f.path for f in bundle.manifest.files if f.sha256 == cut.entry.base))
    recipe = load_recipe(cut.recipe, cut.entry, bundle.read, must_inherit=True)
    point = _point(cut.entry, materialise_bytes(recipe, base, cut.entry.id), task)
    if not below.latency_ms < point.latency_ms < above.latency_ms:
        say(f"{pair}: the nearest width is no other than a neighbour")
        return []
    share = (point.latency_ms - below.latency_ms) / (above.latency_ms - below.latency_ms)
    expected = below.accuracy + share * (above.accuracy - below.accuracy)
    difference = (point.accuracy - expected) * 100
    say(f"{pair}: {point.rung} at {share:.0%} of the way: {point.accuracy:.2%}, interpolated {expected:.2%}")
    return [(difference, f"{pair}: {point.accuracy:.2%}, interpolated {expected:.2%}")]


def _point(entry: RungEntry, data: bytes, task: Task) -> _Point:
    session, right, total = Session(data), 0, 0
    for split in ("validation", "test"):
        targets = task.targets(split)
        assert targets is not None
        right += int((session.run(task.inputs(split)).argmax(1) == targets).sum())
        total += len(targets)
    return _Point(entry.id, entry.latency_ms, right / total)
