"""The registry of schedules, what they work on and what they give."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from secateur.criteria import Evidence, Scores, score
from secateur.ir import Groups, Network, SecateurError, single
from secateur.load import Task
from secateur.pruning import remaining
from secateur.tuning import Data, Statistics, measure_statistics, recalibrate


@dataclass(frozen=True)
class Material:
    """What a schedule works on.

    Attributes:
        network: the full network, in the order of the user's model.
        groups: its channel groups.
        task: its data.
        criterion: what ranks channels.
        steps: of training, for a schedule that trains.
        seed: of its batches.
        on_step: told the step of training.
        notes: what criteria say about their scores.
    """

    network: Network
    groups: Groups
    task: Task
    criterion: str
    steps: int = 300
    seed: int = 0
    on_step: Callable[[int], None] = lambda step: None
    notes: list[str] = field(default_factory=list)

    @property
    def calibration(self) -> NDArray[np.float32]:
        """Calibration inputs, (samples, …)."""
        return single(self.task.inputs("calibration"), "a schedule or regulariser that trains or cuts in rounds")

    @property
    def data(self) -> Data:
        """What a phase of training takes."""
        task = self.task
        return Data(
            single(task.inputs("train"), "a schedule or regulariser that trains"),
            self.calibration,
            task.targets("train") if task.loss else None,
            task.loss,
        )

    def score(self, network: Network | None = None, groups: Groups | None = None) -> Scores:
        """Score the channels of a network; of the full one if None."""
        task = self.task
        return score(
            self.criterion,
            Evidence(
                network or self.network,
                groups or self.groups,
                task.inputs("calibration"),
                task.targets("calibration"),
                task.loss,
                self.seed,
                self.notes,
            ),
        )

    def score_remaining(self, network: Network, alive: dict[str, NDArray[np.bool_]], goals: dict[str, Statistics]) -> Scores:
        """Cut a network to the channels that remain, recalibrate it, and score them.

        Args:
            network: the full network with the weights so far.
            alive: group id → whether each channel remains.
            goals: table → the statistics that its channels have in the full network.

        Returns:
            Group id → scores of the channels that remain, in ascending order.
        """
        small, groups, index = remaining(network, self.groups, alive)
        wanted = {name: Statistics(goals[name].mean[at], goals[name].deviation[at]) for name, at in index.items()}
        return self.score(small.with_values(tables=recalibrate(small, wanted, self.calibration)), groups)

    def statistics(self) -> dict[str, Statistics]:
        """Return what the tables of the full network give on the calibration data."""
        return measure_statistics(self.network, self.calibration)

    def with_network(self, network: Network) -> Material:
        """Return the same with another network."""
        return replace(self, network=network)


@dataclass(frozen=True)
class Outcome:
    """What a schedule found.

    Attributes:
        network: in the order of the user's model; the very object that came in if nothing was trained.
        scores: group id → score per channel; what is higher is kept longer.
        history: for each choice of a mask, which channels remained of each group.
    """

    network: Network
    scores: Scores
    history: list[dict[str, NDArray[np.bool_]]] = field(default_factory=list)


Schedule = Callable[[Material], Outcome]
SCHEDULES: dict[str, Schedule] = {}


def schedule(name: str) -> Callable[[Schedule], Schedule]:
    """Register a function as a schedule under the name that ``--schedule`` takes."""

    def register(function: Schedule) -> Schedule:
        SCHEDULES[name] = function
        return function

    return register


def check_schedule(name: str) -> None:
    """Refuse a schedule that there is not.

    Raises:
        SecateurError: names those that there are.
    """
    if name not in SCHEDULES:
        raise SecateurError(f"schedule {name!r}: there is none of this name; there are {', '.join(sorted(SCHEDULES))}")
