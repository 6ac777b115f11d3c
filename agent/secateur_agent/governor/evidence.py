"""Why the governor decided so: a compact JSON-able record, and the words of its reasons."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from secateur_agent.governor.feasibility import Verdict
from secateur_agent.governor.limits import Limit, Limits, known, throttle_of
from secateur_agent.governor.types import GovernorSample

_READINGS = (
    "mem_available_mb",
    "cgroup_headroom_mb",
    "worker_rss_mb",
    "psi_memory_some",
    "request_rate_hz",
    "battery_energy_mwh",
    "idle_mw",
)


def evidence(sample: GovernorSample, limits: Limits, verdicts: Sequence[Verdict]) -> dict[str, Any]:
    """Return readings (``unknown`` lists what is missing), limits with their origin, and per rung its costs and misses.

    Latency and its limit are those of the unthrottled device.
    """
    found = {name: known(getattr(sample, name)) for name in _READINGS}
    readings: dict[str, Any] = {"throttle": short(throttle_of(sample))}
    readings |= {name: short(value) for name, value in found.items() if value is not None}
    if sample.battery_charging is not None:
        readings["battery_charging"] = sample.battery_charging
    missing = [name for name, value in found.items() if value is None]
    readings["unknown"] = missing + (["battery_charging"] if sample.battery_charging is None else [])
    return {
        "readings": readings,
        "limits": {
            "latency_ms": _limit(limits.latency_ms),
            "memory_mb": _limit(limits.memory_mb),
            "energy_mj": _limit(limits.energy_mj),
        },
        "rungs": {
            verdict.rung.id: {
                "accuracy": short(verdict.rung.accuracy),
                "latency_ms": short(verdict.rung.latency_ms),
                "memory_mb": short(verdict.rung.peak_mb),
                "energy_mj": short(verdict.rung.energy_mj),
                **({"misses": verdict.misses} if verdict.misses else {}),
            }
            for verdict in verdicts
        },
    }


def missed_in_words(verdict: Verdict, limits: Limits) -> str:
    """Say what a rung misses, with numbers; '' if it misses nothing."""
    rung = verdict.rung
    words = {
        "memory": lambda: f"memory ({rung.peak_mb:.4g} MB, {_number(limits.memory_mb)} fit)",
        "latency": lambda: f"latency ({rung.latency_ms:.3g} ms unthrottled, {_number(limits.latency_ms)} allowed)",
        "energy": lambda: f"the battery's horizon ({rung.energy_mj:.3g} mJ, {_number(limits.energy_mj)} allowed)",
    }
    return " and ".join(words[cost]() for cost in verdict.misses)


def _number(limit: Limit) -> str:
    return f"{max(0.0, limit.value or 0.0):.3g}"


def _limit(limit: Limit) -> dict[str, Any]:
    return {"limit": None if limit.value is None else short(limit.value), "why": limit.why}


def short(value: float) -> float:
    """Return a number with the four digits that a record needs."""
    return float(f"{value:.4g}")
