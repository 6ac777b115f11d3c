"""Cases ``vs-torch-pruning`` and ``nested-vs-separate``: train what has no raw row yet, then compare pair by pair."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy import stats

from secateur.load import Task

from ..case import Measured, say
from .data import Cifar, trained
from .data import folder as data_folder
from .ours import accuracy_of_module
from .runs import FOLDER, SEEDS, SURVEY, RawRow, Survey, chosen, network_of, train_all, within_time

TITLE = "ResNet-20, CIFAR-10, 3,500 training, 500 validation and 1,000 test images"


def measure(_work: Path) -> list[Measured]:
    """Train the networks that have no row yet, which takes hours, and compare."""
    data_folder()
    FOLDER.mkdir(parents=True, exist_ok=True)
    rows = train_all()
    known = json.loads((FOLDER / SURVEY).read_text(encoding="utf-8"))
    return [*versus_peer(rows, known), *nested_versus_alone(rows, known), largest_versus_original(rows)]


def versus_peer(rows: Sequence[RawRow], known: Survey) -> list[Measured]:
    """Return for each point Secateur's test accuracy less the peer's, paired by seed, in points."""
    found = []
    for point, (variant, network) in chosen(rows, known).items():
        theirs = _by_seed(rows, "peer", network, variant)
        ours = _by_seed(rows, "alone", point)
        differences = [100 * (ours[seed].test - theirs[seed].test) for seed in SEEDS]
        limit = f"work {ours[SEEDS[0]].work:.3f} ≤ {theirs[SEEDS[0]].work:.3f}"
        if point.startswith("time/"):
            most = network_of(known, (variant, network))["time"]
            limit = f"time {within_time(known, most)['time']:.3f} ≤ {most:.3f}"
        case = (
            f"{TITLE}, {point}: {_mean(ours):.1%} against {_mean(theirs):.1%} ({variant}, chosen on validation); {limit}; "
            f"{_interval(differences)}"
        )
        say(case)
        found.append(Measured("vs-torch-pruning", case, float(np.mean(differences))))
    return found


def nested_versus_alone(rows: Sequence[RawRow], known: Survey) -> list[Measured]:
    """Return for each rung of the ladder its test accuracy less that of the same network tuned by itself, in points."""
    found = []
    for point in (point for point in chosen(rows, known) if point.startswith("work/")):
        ladder, alone = _by_seed(rows, "nested", point), _by_seed(rows, "alone", point)
        differences = [100 * (ladder[seed].test - alone[seed].test) for seed in SEEDS]
        case = f"{TITLE}, {point}: {_mean(ladder):.1%} in the ladder, {_mean(alone):.1%} alone; {_interval(differences)}"
        say(case)
        found.append(Measured("nested-vs-separate", case, float(np.mean(differences))))
    return found


def largest_versus_original(rows: Sequence[RawRow]) -> Measured:
    """Return the test accuracy of the ladder's largest rung less the original's, in points."""
    original = accuracy_of_module(trained(), Task(Cifar(), "CIFAR-10"), "test")
    largest = _by_seed(rows, "nested", "full")
    differences = [100 * (largest[seed].test - original) for seed in SEEDS]
    case = f"{TITLE}: {_mean(largest):.1%}, the original {original:.1%}; {_interval(differences)}"
    say(case)
    return Measured("nested-largest", case, float(np.mean(differences)))


def _by_seed(rows: Sequence[RawRow], who: str, point: str, variant: str | None = None) -> dict[int, RawRow]:
    fitting = [row for row in rows if (row.who, row.point) == (who, point) and variant in (None, row.variant)]
    return {row.seed: row for row in fitting}


def _mean(rows: dict[int, RawRow]) -> float:
    return float(np.mean([row.test for row in rows.values()]))


def _interval(differences: Sequence[float]) -> str:
    """The 95 % interval of the mean of paired differences, by Student's t."""
    error = stats.sem(differences)
    reach = float(stats.t.ppf(0.975, len(differences) - 1) * error)
    mean = float(np.mean(differences))
    return f"mean of {len(differences)} seeds {mean:+.2f}, 95 % from {mean - reach:+.2f} to {mean + reach:+.2f}"
