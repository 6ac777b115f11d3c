"""Chooses the width of one more rung from what a device measured."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from secateur.ir import InfeasibleError
from secateur.search.cost import Costs
from secateur.search.estimator import Estimator
from secateur.search.path import Step
from secateur.search.planner import Plan, plan_rung

SAFETY = 0.93
"""A rung is planned to this share of a bound: measurements scatter."""


class Measured(Protocol):
    """What a device measured of a rung."""

    @property
    def rung(self) -> str:
        """Its id."""

    @property
    def latency_p50_ms(self) -> float:
        """Median latency."""

    @property
    def peak_rss_mb(self) -> float:
        """Peak memory of its worker."""

    @property
    def energy_mj(self) -> float | None:
        """Energy of one inference, if the device can tell."""


class Limits(Protocol):
    """What the new rung must meet; None is not bounded."""

    @property
    def latency_ms(self) -> float | None:
        """Median latency on the device."""

    @property
    def memory_mb(self) -> float | None:
        """Peak memory of a fresh worker."""

    @property
    def energy_mj(self) -> float | None:
        """Energy of one inference."""


@dataclass(frozen=True)
class Corrections:
    """Measured ÷ planned on this device, median over the measured rungs; 1 without measurements."""

    memory: float = 1.0
    energy: float = 1.0


def corrections(
    path: Sequence[Step], costs: Costs, model: Estimator, existing: Mapping[str, float], measurements: Sequence[Measured]
) -> Corrections:
    """Return how this device's memory and energy differ from the plan; the agent's governor corrects in the same way.

    Args:
        path: what the rungs are points of.
        costs: of the network.
        model: plans memory and energy.
        existing: rung id → planned latency.
        measurements: of the device.
    """
    memory, energy = [1.0], [1.0]
    for found in measurements:
        if found.rung not in existing:
            continue
        planned = existing[found.rung]
        step = min(path, key=lambda step: abs(step.latency_ms - planned))
        memory.append(found.peak_rss_mb / model.memory_mb(costs, step.keep))
        if found.energy_mj is not None:
            energy.append(found.energy_mj / model.energy_mj(found.latency_p50_ms))
    return Corrections(*(float(np.median(ratios[1:] or ratios)) for ratios in (memory, energy)))


def latency_model(planned: Mapping[str, float], measurements: Sequence[Measured]) -> Callable[[float], float]:
    """Return planned latency → latency on this device, in ms.

    Between measured rungs it interpolates; beyond them it keeps the ratio of the nearest. Without any it changes nothing.
    """
    pairs = sorted((planned[m.rung], m.latency_p50_ms) for m in measurements if m.rung in planned)
    if not pairs:
        return lambda value: value
    x = np.asarray([a for a, _ in pairs])
    y = np.maximum.accumulate([b for _, b in pairs])

    def predict(value: float) -> float:
        if value <= x[0]:
            return float(value * y[0] / x[0])
        if value >= x[-1]:
            return float(value * y[-1] / x[-1])
        return float(np.interp(value, x, y))

    return predict


def plan_between(
    path: Sequence[Step],
    costs: Costs,
    model: Estimator,
    latency: Callable[[float], float],
    limits: Limits,
    existing: Mapping[str, float],
    device: Corrections = Corrections(),
) -> Plan:
    """Return the largest point of the path that meets the limits and is larger than every existing rung that does.

    Args:
        path: nested keep-counts, planned latency falling.
        costs: of the network.
        model: plans memory and energy.
        latency: planned → measured, from `latency_model`.
        limits: what must be met on the device.
        existing: rung id → planned latency of the rungs that there are.
        device: planned → measured for memory and energy, from `corrections`.

    Raises:
        InfeasibleError: if there is no such point; says what the nearest is.
    """
    for step in path:
        plan = plan_rung(step, costs, model)
        real = latency(step.latency_ms)
        meets = limits.latency_ms is None or real <= SAFETY * limits.latency_ms
        meets &= limits.memory_mb is None or device.memory * plan.memory_mb <= limits.memory_mb
        meets &= limits.energy_mj is None or device.energy * model.energy_mj(real) <= limits.energy_mj
        if not meets:
            continue
        if any(abs(step.latency_ms - known) < 1e-4 * known for known in existing.values()):
            raise InfeasibleError("re-cut: the largest width that meets the constraints is a rung of the ladder already")
        return plan
    smallest, real = plan_rung(path[-1], costs, model), latency(path[-1].latency_ms)
    memory_mb, energy_mj = device.memory * smallest.memory_mb, device.energy * model.energy_mj(real)
    raise InfeasibleError(
        "re-cut: infeasible; the smallest width there is takes "
        f"{real:.4g} ms, {memory_mb:.4g} MB and {energy_mj:.4g} mJ on this device"
    )
