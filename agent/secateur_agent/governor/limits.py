"""What a rung may cost at this instant, in units of the unthrottled device, so that one number judges every rung."""

from __future__ import annotations

import math

import msgspec

from secateur_agent.governor.types import GovernorSample, GovernorSettings, GovernorState
from secateur_agent.protocol.messages import Policy

MJ_PER_MWH = 3600.0


class Limit(msgspec.Struct, frozen=True):
    """The most that a rung may cost; ``value`` is None if nothing limits it or the reading is unknown: ``why`` says."""

    value: float | None
    why: str


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """One limit per cost of a `RungModel`. A value of 0 or less means that no network can meet it."""

    latency_ms: Limit
    memory_mb: Limit
    energy_mj: Limit


def limits_now(
    sample: GovernorSample, policy: Policy, state: GovernorState, settings: GovernorSettings | None = None
) -> Limits:
    """Turn readings and objectives into limits.

    Args:
        sample: the device now.
        policy: the objectives.
        state: for the horizon's deadline and the battery's reference.
        settings: for the margins.
    """
    return Limits(
        latency_ms=_latency(sample, policy),
        memory_mb=_memory(sample, policy, settings or GovernorSettings()),
        energy_mj=_energy(sample, policy, state),
    )


def known(value: float | None) -> float | None:
    """Return a reading, or None if it is missing or not a finite number."""
    return value if value is not None and math.isfinite(value) else None


def throttle_of(sample: GovernorSample) -> float:
    """The throttle factor; a device is never faster than unthrottled."""
    return max(1.0, known(sample.throttle) or 1.0)


def _latency(sample: GovernorSample, policy: Policy) -> Limit:
    if policy.latency_ms is None:
        return Limit(None, "no objective")
    factor = throttle_of(sample)
    if factor == 1.0:
        return Limit(policy.latency_ms, "objective")
    return Limit(policy.latency_ms / factor, f"objective {policy.latency_ms:g} ms / throttle {factor:.3g}")


def spare_memory(sample: GovernorSample, settings: GovernorSettings) -> Limit:
    """Return what may be taken beside all that is in memory now, the worker included; None if that is unknown.

    Below 0 even what is in memory now is too much.
    """
    found = _spare(sample, settings)
    return min(found, key=lambda limit: limit.value or 0.0) if found else Limit(None, "unknown")


def _memory(sample: GovernorSample, policy: Policy, settings: GovernorSettings) -> Limit:
    """A switch gives the worker's memory back, so what it holds now counts as free."""
    found = [] if policy.memory_mb is None else [Limit(policy.memory_mb, "objective")]
    rss_mb = known(sample.worker_rss_mb)
    if rss_mb is not None:
        found += _spare(sample, settings, rss_mb, " + worker")
    return min(found, key=lambda limit: limit.value or 0.0) if found else Limit(None, "unknown")


def _spare(sample: GovernorSample, settings: GovernorSettings, held_mb: float = 0.0, held: str = "") -> list[Limit]:
    """What the system and the cgroup would give, each less the margin, and less still while tasks wait for memory.

    ``held_mb`` is given back besides; ``held`` says what that is.
    """
    pressure = known(sample.psi_memory_some) or 0.0
    found = []
    for reading_mb, name in ((sample.mem_available_mb, "available"), (sample.cgroup_headroom_mb, "cgroup")):
        free_mb = known(reading_mb)
        if free_mb is None:
            continue
        free_mb -= settings.memory_margin_mb
        why = f"{name}{held} - {settings.memory_margin_mb:g} MB margin"
        if pressure > settings.psi_memory_percent and free_mb > 0:
            free_mb *= settings.psi_memory_percent / pressure
            why += f", stalled {pressure:.3g}%"
        found.append(Limit(free_mb + held_mb, why))
    return found


def _energy(sample: GovernorSample, policy: Policy, state: GovernorState) -> Limit:
    """Energy per inference at which the battery, less its reserve, lasts to the deadline at the expected rate of inferences.

    (energy − reserve) ≥ (idle power + rate × energy per inference) × remaining time; mW · s = mJ.
    """
    if policy.horizon_s <= 0:
        return Limit(None, "no horizon")
    remaining_s = state.deadline_s - sample.mono_s
    if remaining_s <= 0:
        return Limit(None, "horizon reached")
    if sample.battery_charging:
        return Limit(None, "charging")
    energy_mwh, reference_mwh = known(sample.battery_energy_mwh), state.battery_reference_mwh
    idle_mw, rate_hz = known(sample.idle_mw), state.expected_rate_hz
    if sample.battery_charging is None or energy_mwh is None or reference_mwh is None:
        return Limit(None, "unknown")
    if idle_mw is None:
        return Limit(None, "unknown")
    if rate_hz is None or rate_hz <= 0:
        return Limit(None, "no requests")
    usable_mwh = energy_mwh - policy.battery_reserve_percent / 100 * reference_mwh
    budget_mw = usable_mwh * MJ_PER_MWH / remaining_s
    why = f"{budget_mw:.4g} mW for {remaining_s:.0f} s, {idle_mw:.4g} mW idle, {rate_hz:.3g} inferences/s expected"
    return Limit((budget_mw - idle_mw) / rate_hz, why)
