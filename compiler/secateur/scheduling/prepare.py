"""What comes before sorting: a phase of regularised training if asked for, then the schedule."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from secateur.ir import SecateurError
from secateur.scheduling.registry import SCHEDULES, Material, Outcome, check_schedule
from secateur.tuning import REGULARISERS, SandwichSettings, check_regulariser, fold_scales, train_phase

TRAINING = ("gradual", "dynamic")
"""Schedules that train."""


def check_preparation(schedule: str, schedule_steps: int, regulariser: str, steps: int, strength: float | None) -> None:
    """Refuse what cannot be before minutes are spent.

    Args:
        schedule: a registered schedule.
        schedule_steps: of training, for a schedule that trains.
        regulariser: a registered regulariser, or ``none``.
        steps: of regularised training.
        strength: of the penalty; the regulariser's own if None.

    Raises:
        SecateurError: says what there is.
    """
    check_schedule(schedule)
    if schedule in TRAINING and schedule_steps < 1:
        raise SecateurError(f"schedule {schedule}: it trains, so it needs --schedule-steps of 1 or more")
    if check_regulariser(regulariser, strength) and steps < 1:
        raise SecateurError(f"regulariser {regulariser}: it needs --regulariser-steps of 1 or more")


def prepare(
    material: Material,
    schedule: str,
    regulariser: str = "none",
    steps: int = 0,
    strength: float | None = None,
    on_step: Callable[[int], None] = lambda step: None,
) -> Outcome:
    """Train under a penalty if asked for, then rank.

    Args:
        material: network, groups, data and criterion.
        schedule: a registered schedule.
        regulariser: a registered regulariser, or ``none``.
        steps: of regularised training.
        strength: of the penalty; the regulariser's own if None.
        on_step: told the step, counted over both phases.

    Returns:
        The ranking, and the network with trained weights if anything was trained.
    """
    before = 0
    if regulariser != "none":
        chosen = REGULARISERS[regulariser]
        penalty = chosen.make(material.groups, material.score(), steps, chosen.strength if strength is None else strength)
        trained = train_phase(
            material.network,
            material.groups,
            material.data,
            SandwichSettings(steps=steps, seed=material.seed),
            penalty,
            on_step=lambda step, _: on_step(step),
        )
        material, before = material.with_network(fold_scales(trained)), steps
    return SCHEDULES[schedule](replace(material, on_step=lambda step: on_step(before + step)))
