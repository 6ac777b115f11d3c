"""When to ask the host for a rung that the ladder lacks, and what that rung would have to meet."""

from __future__ import annotations

import math
from collections.abc import Sequence

from msgspec.structs import replace

from secateur_agent.governor.feasibility import Verdict
from secateur_agent.governor.limits import Limits
from secateur_agent.governor.types import GovernorSettings, GovernorState
from secateur_agent.protocol.messages import Constraints, Policy

_MAX_REMEMBERED = 32


def consider(
    state: GovernorState,
    now_s: float,
    verdicts: Sequence[Verdict],
    limits: Limits,
    policy: Policy,
    settings: GovernorSettings,
) -> tuple[GovernorState, Constraints | None]:
    """Decide whether to ask now.

    A wish must last `ask_after_s`, asks keep `reprune_min_interval_s` apart, and alike constraints are asked for once, or
    once more when a rung has come that does not do.

    Returns:
        The state, and the constraints to ask for, or None.
    """
    wish = wanted(verdicts, limits, settings) if policy.reprune else None
    if wish is None:
        return replace(state, wish=None), None
    if state.wish is None or not alike(state.wish, wish, settings.bucket):
        state = replace(state, wish=wish, wish_since_s=now_s)
    if now_s - state.wish_since_s < settings.ask_after_s:
        return state, None
    if state.asked_s is not None and now_s - state.asked_s < policy.reprune_min_interval_s:
        return state, None
    rungs = tuple(sorted(verdict.rung.id for verdict in verdicts))
    before = sum(alike(asked, wish, settings.bucket) for asked in state.asked)
    if before and (before >= settings.max_alike_asks or rungs == state.asked_with):
        return state, None
    asked = (*state.asked, wish)[-_MAX_REMEMBERED:]
    return replace(state, asked=asked, asked_with=rungs, asked_s=now_s), wish


def wanted(verdicts: Sequence[Verdict], limits: Limits, settings: GovernorSettings) -> Constraints | None:
    """Return what a new rung would have to meet, if the ladder has none that does so well; else None."""
    best = next((verdict for verdict in verdicts if verdict.feasible), None)
    if best is not None and not _better_lies_between(best, verdicts, settings):
        return None
    values = (limits.latency_ms.value, limits.memory_mb.value, limits.energy_mj.value)
    if any(value is not None and value <= 0 for value in values):
        return None  # no network at all could meet it
    # A limit that every rung meets says nothing about the new one, but would make it look like another wish each time.
    missed = {cost for verdict in verdicts for cost in verdict.misses}
    latency_ms, memory_mb, energy_mj = values
    return Constraints(
        latency_ms=latency_ms if "latency" in missed else None,
        memory_mb=memory_mb if "memory" in missed else None,
        energy_mj=energy_mj if "energy" in missed else None,
    )


def _better_lies_between(best: Verdict, verdicts: Sequence[Verdict], settings: GovernorSettings) -> bool:
    """Whether the limits lie clearly between the best feasible rung and the next larger one of its precision."""
    larger = [v for v in verdicts[: best.rank] if v.rung.precision == best.rung.precision]
    if not larger or not larger[-1].fits_memory:
        return False
    above = larger[-1]
    if above.rung.accuracy - best.rung.accuracy < settings.min_accuracy_gap:
        return False
    return all(
        above.use[cost] > settings.min_latency_gap * best.use[cost] and best.use[cost] * settings.min_room <= 1
        for cost in above.misses
    )


def alike(a: Constraints, b: Constraints, bucket: float) -> bool:
    """Whether two sets of constraints limit the same costs, each within a factor of 1 + ``bucket``."""
    for x, y in ((a.latency_ms, b.latency_ms), (a.memory_mb, b.memory_mb), (a.energy_mj, b.energy_mj)):
        if (x is None) != (y is None):
            return False
        if x is not None and y is not None and abs(math.log(x / y)) > math.log1p(bucket):
            return False
    return True
