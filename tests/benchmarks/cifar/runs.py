"""The long comparisons: networks that are trained one by one, each a raw row in a file, so that an interrupted run goes on.

``make bench-full`` starts it. Rows are in the order in which networks were done; a network that has a row is not trained
again. The peer is trained first: what Secateur is compared with depends on what its variants reach on validation images.
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
from .plan import TIME, VARIANTS, WORK, cut_peer, survey

FOLDER = Path("docs/benchmarks-raw")
ROWS, SURVEY = "resnet20-cifar10.jsonl", "resnet20-cifar10-survey.json"
SEEDS = (0, 1, 2)
STEPS, NESTED_STEPS, COPIES = 300, 240, 6
"""One ladder has five networks, the full one among them: 240 steps are 1,200 of single networks."""
SLACK = 1.02
"""The peer's network for a time may take this much more than the time asked for."""


@dataclass(frozen=True)
class Run:
    """One training: ``who`` is peer, alone or nested; ``variant`` of the peer; ``point`` such as work/0.5; ``seed``."""

    who: str
    variant: str
    point: str
    seed: int


@dataclass(frozen=True)
class RawRow:
    """One trained network. ``work`` and ``time`` are shares of the full network's; ``time`` is None if it was not taken."""

    who: str
    variant: str
    point: str
    seed: int
    work: float
    time: float | None
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


def peer_runs(rows: Iterable[RawRow]) -> list[Run]:
    """Return the peer's trainings: every variant with the first seed; with the others those that were chosen."""
    first = [Run("peer", variant, f"work/{point}", SEEDS[0]) for point in WORK for variant in VARIANTS]
    names = dict.fromkeys(name for name in chosen(rows).values())
    return first + [Run("peer", *name, seed) for seed in SEEDS[1:] for name in names]


def chosen(rows: Iterable[RawRow], slack: float = SLACK) -> dict[str, tuple[str, str]]:
    """Return for each point the peer's variant and network that is best on validation images with the first seed.

    For a share of work it is one of the three networks that were cut for it; for a share of time it is any that takes no
    longer. Points for which not all candidates are trained are missing.
    """
    first = [row for row in rows if row.who == "peer" and row.seed == SEEDS[0]]
    if len(first) < len(VARIANTS) * len(WORK):
        return {}
    found = {}
    for point in WORK:
        best = max((row for row in first if row.point == f"work/{point}"), key=lambda row: row.validation)
        found[f"work/{point}"] = (best.variant, best.point)
    for point in TIME:
        fast = [row for row in first if row.time is not None and row.time <= slack * point]
        if fast:
            best = max(fast, key=lambda row: row.validation)
            found[f"time/{point}"] = (best.variant, best.point)
    return found


def our_runs(rows: Iterable[RawRow]) -> list[Run]:
    """Return Secateur's trainings: at each point alone, and all shares of work as one ladder."""
    points = list(chosen(rows))
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
    known = survey(ours, FOLDER / SURVEY)["peer"][f"{run.variant}/{run.point.removeprefix('work/')}"]
    calibration = task.inputs("calibration"), task.targets("calibration")
    network = cut_peer(original, run.variant, float(run.point.removeprefix("work/")), *calibration)
    tuned = peer.distil(network, original, images, labels, calibration[0], SandwichSettings(steps=STEPS, seed=run.seed))
    values = {split: accuracy_of_module(tuned, task, split) for split in ("validation", "test")}
    return [{"variant": run.variant, "point": run.point, "steps": STEPS, **known, **values}]


def _limit(ours: Ours, point: str) -> tuple[str, float]:
    known = survey(ours, FOLDER / SURVEY)["peer"]
    variant, network = chosen(read())[point]
    kind = point.split("/")[0]
    return kind, known[f"{variant}/{network.removeprefix('work/')}"][kind]


def _alone(ours: Ours, run: Run) -> list[dict[str, Any]]:
    kind, most = _limit(ours, run.point)
    if kind == "work":
        keep: dict[str, int] = ours.within(most)
        measured = None
    else:
        step = next(step for step in survey(ours, FOLDER / SURVEY)["path"] if step["time"] <= most)
        keep, measured = step["keep"], step["time"]
    network = tune_alone(ours, keep, SandwichSettings(steps=STEPS, seed=run.seed))
    values = {split: accuracy(network, ours.task, split) for split in ("validation", "test")}
    return [{"variant": "", "point": run.point, "work": ours.share(keep), "time": measured, "steps": STEPS, **values}]


def _nested(ours: Ours, run: Run) -> list[dict[str, Any]]:
    points = [f"work/{point}" for point in WORK]
    keeps = [ours.within(_limit(ours, point)[1]) for point in points]
    settings = SandwichSettings(steps=NESTED_STEPS, widths=1 + len(keeps), between=0, seed=run.seed)
    networks, share = tune_nested(ours, keeps, settings)
    every = [ours.groups.full(), *keeps]
    return [
        {
            "variant": f"tuning taken to {share:g}",
            "point": point,
            "work": ours.share(keep),
            "time": None,
            "steps": NESTED_STEPS,
            **{split: accuracy(network, ours.task, split) for split in ("validation", "test")},
        }
        for point, keep, network in zip(["full", *points], every, networks)
    ]


def train_all(processes: int = 2, folder: Path = FOLDER) -> list[RawRow]:
    """Train whatever has no row yet, the peer first, in so many processes; return all rows."""
    os.environ["OMP_NUM_THREADS"] = "1"
    survey(_ours(), folder / SURVEY)
    # The next row must not be appended to a half-written one.
    (folder / ROWS).write_text("".join(_whole_lines(folder / ROWS)), encoding="utf-8")
    for stage in (peer_runs, peer_runs, our_runs):  # which of the peer's are trained with other seeds its first say
        rows = read(folder)
        waiting = left(stage(rows), rows)
        say(f"{stage.__name__.replace('_', ' ')}: {len(waiting)} to train")
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(processes, mp_context=context) as pool:
            for future in as_completed([pool.submit(_train, run) for run in waiting]):
                with (folder / ROWS).open("a", encoding="utf-8") as lines:
                    for row in future.result():
                        lines.write(json.dumps(asdict(row)) + "\n")
                        say(f"{row.who} {row.variant} {row.point} seed {row.seed}: {row.test:.1%} ({row.seconds:.0f} s)")
    return read(folder)
