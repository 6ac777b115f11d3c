"""What comes before sorting: a phase of regularised training if asked for, then the schedule."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from secateur.ir import Network, SecateurError
from secateur.scheduling.registry import SCHEDULES, Material, Outcome, check_schedule
from secateur.tuning import REGULARISERS, SandwichSettings, check_regulariser, fold_scales, train_phase
from secateur.twin import fixed_values, run

LEAST_CORRELATION = 0.5
_SAMPLES = 256
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
        check_follows(material.network, trained, material.calibration, f"regulariser {regulariser}")
        material, before = material.with_network(fold_scales(trained)), steps
    outcome = SCHEDULES[schedule](replace(material, on_step=lambda step: on_step(before + step)))
    if outcome.network is not material.network:
        check_follows(material.network, outcome.network, material.calibration, f"schedule {schedule}")
    return outcome


def check_follows(original: Network, trained: Network, inputs: NDArray[np.float32], what: str) -> None:
    """Refuse a network that training has ruined: the original is a rung too, and shares the trained weights.

    Args:
        original: the network before.
        trained: the network after.
        inputs: calibration inputs, (samples, …).
        what: the phase, for the message.

    Raises:
        SecateurError: if the outputs hardly vary as before (correlation below `LEAST_CORRELATION`).
    """
    before, after = (_outputs(network, inputs) for network in (original, trained))
    spread = float(before.std() * after.std())
    correlation = float((before * after).mean()) / spread if spread > 0 else 0.0
    if not correlation >= LEAST_CORRELATION:
        raise SecateurError(
            f"{what}: training ruined the network (its outputs correlate with the original's by {max(correlation, 0):.2f}); "
            "use a lower --regulariser-strength or other steps"
        )


def _outputs(network: Network, inputs: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the first output over the samples, less each element's mean."""
    name = next(iter(network.inputs))
    with torch.no_grad():
        found = next(iter(run(network, {name: torch.from_numpy(inputs[:_SAMPLES])}, fixed_values(network)).values()))
    values: NDArray[np.float64] = np.nan_to_num(found.numpy().astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)
    return np.asarray(values - values.mean(0), np.float64)
