"""Chooses the width of one more rung from what a device measured."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import numpy as np

from secateur.ir import InfeasibleError
from secateur.search.cost import Costs
from secateur.search.path import Step
from secateur.search.planner import Plan, plan_rung
from secateur.search.roofline import Roofline

SAFETY = 0.97
"""A rung is planned to this share of a bound: measurements scatter."""


class Measured(Protocol):
    """What a device measured of a rung."""

    @property
    def rung(self) -> str:
        """Its id."""

    @property
    def latency_p50_ms(self) -> float:
        """Median latency."""


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
    model: Roofline,
    latency: Callable[[float], float],
    limits: Limits,
    existing: Mapping[str, float],
) -> Plan:
    """Return the largest point of the path that meets the limits and is larger than every existing rung that does.

    Args:
        path: nested keep-counts, planned latency falling.
        costs: of the network.
        model: plans memory and energy.
        latency: planned → measured, from `latency_model`.
        limits: what must be met on the device.
        existing: rung id → planned latency of the rungs that there are.

    Raises:
        InfeasibleError: if there is no such point; says what the nearest is.
    """
    for step in path:
        plan = plan_rung(step, costs, model)
        real = latency(step.latency_ms)
        meets = limits.latency_ms is None or real <= SAFETY * limits.latency_ms
        meets &= limits.memory_mb is None or plan.memory_mb <= limits.memory_mb
        meets &= limits.energy_mj is None or model.energy_mj(real) <= limits.energy_mj
        if not meets:
            continue
        if any(abs(step.latency_ms - known) < 1e-4 * known for known in existing.values()):
            raise InfeasibleError("re-cut: the largest width that meets the constraints is a rung of the ladder already")
        return plan
    smallest = latency(path[-1].latency_ms)
    raise InfeasibleError(f"re-cut: infeasible; the smallest width there is takes {smallest:.4g} ms on this device")
