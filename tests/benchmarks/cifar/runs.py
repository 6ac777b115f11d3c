"""The long comparisons: networks that are trained one by one, each a raw row in a file, so that an interrupted run goes on.

``make bench-full`` starts it. Rows are in the order in which networks were done; a network that has a row is not trained
again. The peer is trained first: what Secateur is compared with depends on what its variants reach on validation images,
and on the time that its networks take.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import time
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch

from secateur.load import Task
from secateur.tuning import SandwichSettings

from ..case import say
from . import peer
from .data import Cifar, trained
from .ours import Ours, accuracy, accuracy_of_module, prepared, tune_alone, tune_nested
from .plan import TIMED, VARIANTS, WORK, WORK_GRID, cut_peer, survey

FOLDER = Path("docs/benchmarks-raw")
ROWS, SURVEY = "resnet20-cifar10.jsonl", "resnet20-cifar10-survey.json"
SEEDS = (0, 1, 2)
STEPS, NESTED_STEPS, COPIES = 300, 240, 6
"""One ladder has five networks, the full one among them: 240 steps are 1,200 of single networks."""
BALANCE = 0.5
"""Losses of a ladder are divided by the square root of their mean: without, large rungs lose what small ones gain."""
SLACK = 1.02
"""Two networks of the peer's that are timed apart by no more than this take the same time."""
Survey = dict[str, Any]
"""What `survey` found: work and time of all networks that may be compared."""


@dataclass(frozen=True)
class Run:
    """One training: ``who`` is peer, alone or nested; ``variant`` of the peer; ``point`` such as work/0.5; ``seed``."""

    who: str
    variant: str
    point: str
    seed: int


@dataclass(frozen=True)
class RawRow:
    """One trained network; ``work`` is a share of the full network's multiply-accumulates."""

    who: str
    variant: str
    point: str
    seed: int
    work: float
    validation: float
    test: float
    steps: int
    seconds: float


def read(folder: Path = FOLDER) -> list[RawRow]:
    """Return the rows that there are; a last line that was half written is not one."""
    return [RawRow(**json.loads(line)) for line in _whole_lines(folder / ROWS)]


def _whole_lines(path: Path) -> list[str]:
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True) if path.exists() else []
    return [line for line in lines if line.endswith("}\n")]


def left(stage: Iterable[Run], rows: Iterable[RawRow]) -> list[Run]:
    """Return those trainings of a stage that have no row yet."""
    done = {("nested", "", "work", r.seed) if r.who == "nested" else (r.who, r.variant, r.point, r.seed) for r in rows}
    return [run for run in stage if (run.who, run.variant, run.point, run.seed) not in done]


def screening_runs() -> list[Run]:
    """Return the peer's trainings with the first seed: every variant."""
    return [Run("peer", variant, f"work/{point}", SEEDS[0]) for point in WORK for variant in VARIANTS]


def peer_runs(rows: Iterable[RawRow], known: Survey) -> list[Run]:
    """Return the peer's trainings with the other seeds: what was chosen."""
    return [Run("peer", *name, seed) for seed in SEEDS[1:] for name in dict.fromkeys(chosen(rows, known).values())]


def chosen(rows: Iterable[RawRow], known: Survey) -> dict[str, tuple[str, str]]:
    """Return for each point the peer's variant and network that is best on validation images with the first seed.

    For a share of work it is one of the three networks that were cut for it; for the time of one of the peer's networks it
    is any that takes no longer, but for `SLACK`. Nothing is chosen before all candidates are trained.
    """
    first = [row for row in rows if row.who == "peer" and row.seed == SEEDS[0]]
    if len(first) < len(VARIANTS) * len(WORK):
        return {}
    found = {}
    for point in WORK:
        best = max((row for row in first if row.point == f"work/{point}"), key=lambda row: row.validation)
        found[f"work/{point}"] = (best.variant, best.point)
    for name in TIMED:
        most = SLACK * known["peer"][name]["time"]
        fast = [row for row in first if network_of(known, (row.variant, row.point))["time"] <= most]
        best = max(fast, key=lambda row: row.validation)
        found[f"time/{name}"] = (best.variant, best.point)
    return found


def our_runs(rows: Iterable[RawRow], known: Survey) -> list[Run]:
    """Return Secateur's trainings: at each point alone, and all shares of work as one ladder."""
    points = list(chosen(rows, known))
    return [
        run
        for seed in SEEDS
        for run in [Run("alone", "", point, seed) for point in points]
        + ([Run("nested", "", "work", seed)] if points else [])
    ]


@cache
def _ours() -> Ours:
    torch.set_num_threads(1)
    return prepared(Task(Cifar(COPIES), "CIFAR-10"))


def _train(run: Run) -> list[RawRow]:
    began = time.monotonic()
    ours = _ours()
    found = {"peer": _peer, "alone": _alone, "nested": _nested}[run.who](ours, run)
    return [RawRow(**each, seed=run.seed, who=run.who, seconds=round(time.monotonic() - began, 1)) for each in found]


def _peer(ours: Ours, run: Run) -> list[dict[str, Any]]:
    task, original = ours.task, trained()
    images, labels = task.inputs("train"), task.targets("train")
    calibration = task.inputs("calibration"), task.targets("calibration")
    network = cut_peer(original, run.variant, float(run.point.removeprefix("work/")), *calibration)
    work = peer.macs(network) / peer.macs(original)
    tuned = peer.distil(network, original, images, labels, calibration[0], SandwichSettings(steps=STEPS, seed=run.seed))
    values = {split: accuracy_of_module(tuned, task, split) for split in ("validation", "test")}
    return [{"variant": run.variant, "point": run.point, "steps": STEPS, "work": work, **values}]


def network_of(known: Survey, name: tuple[str, str]) -> dict[str, float]:
    """Return work and time of one of the peer's networks."""
    found: dict[str, float] = known["peer"][f"{name[0]}/{name[1].removeprefix('work/')}"]
    return found


def _ladder(ours: Ours) -> dict[str, dict[str, int]]:
    """Return Secateur's nested networks: point → keep-counts, none doing more work than the peer's network there."""
    known = survey(ours, FOLDER / SURVEY)
    limits = {p: network_of(known, name)["work"] for p, name in chosen(read(), known).items() if p.startswith("work/")}
    return dict(zip(limits, ours.ladder(list(limits.values()), ours.share, WORK_GRID)))


def within_time(known: Survey, most: float) -> dict[str, Any]:
    """Return, of Secateur's networks that take no more than this share of the time, the one that loses least."""
    fast = [each for each in known["ours"] if each["time"] <= most]
    return min(fast or known["ours"], key=lambda each: (each["loss"], each["time"]) if fast else each["time"])


def _plan(ours: Ours, point: str) -> dict[str, int]:
    if point.startswith("work/"):
        return _ladder(ours)[point]
    known = survey(ours, FOLDER / SURVEY)
    keep: dict[str, int] = within_time(known, network_of(known, chosen(read(), known)[point])["time"])["keep"]
    return keep


def _alone(ours: Ours, run: Run) -> list[dict[str, Any]]:
    keep = _plan(ours, run.point)
    network = tune_alone(ours, keep, SandwichSettings(steps=STEPS, seed=run.seed))
    values = {split: accuracy(network, ours.task, split) for split in ("validation", "test")}
    return [{"variant": "", "point": run.point, "work": ours.share(keep), "steps": STEPS, **values}]


def _nested(ours: Ours, run: Run) -> list[dict[str, Any]]:
    points, keeps = zip(*_ladder(ours).items())
    settings = SandwichSettings(steps=NESTED_STEPS, widths=1 + len(keeps), between=0, balance=BALANCE, seed=run.seed)
    networks = tune_nested(ours, keeps, settings)
    every = [ours.groups.full(), *keeps]
    return [
        {
            "variant": "",
            "point": point,
            "work": ours.share(keep),
            "steps": NESTED_STEPS,
            **{split: accuracy(network, ours.task, split) for split in ("validation", "test")},
        }
        for point, keep, network in zip(["full", *points], every, networks)
    ]


def train_all(processes: int = 2, folder: Path = FOLDER) -> list[RawRow]:
    """Train whatever has no row yet, the peer first, in so many processes; return all rows."""
    os.environ["OMP_NUM_THREADS"] = "1"
    # The next row must not be appended to a half-written one.
    (folder / ROWS).write_text("".join(_whole_lines(folder / ROWS)), encoding="utf-8")
    _train_stage("the peer's variants", screening_runs(), processes, folder)
    known = survey(_ours(), folder / SURVEY)
    _train_stage("the peer's chosen networks", peer_runs(read(folder), known), processes, folder)
    _train_stage("Secateur's networks", our_runs(read(folder), known), processes, folder)
    return read(folder)


def _train_stage(name: str, runs: Iterable[Run], processes: int, folder: Path) -> None:
    waiting = left(runs, read(folder))
    say(f"{name}: {len(waiting)} to train")
    if not waiting:
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(processes, len(waiting)), mp_context=context) as pool:
        for future in as_completed([pool.submit(_train, run) for run in waiting]):
            with (folder / ROWS).open("a", encoding="utf-8") as lines:
                for row in future.result():
                    lines.write(json.dumps(asdict(row)) + "\n")
                    say(f"{row.who} {row.variant} {row.point} seed {row.seed}: {row.test:.1%} ({row.seconds:.0f} s)")
