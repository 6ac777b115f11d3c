"""Which rungs may run: each rung against the limits, and since when it meets them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

from secateur_agent.governor.ladder import RungModel
from secateur_agent.governor.limits import Limits
from secateur_agent.governor.types import GovernorSettings, GovernorState, Standing

Cost = Literal["memory", "latency", "energy"]


class Verdict(NamedTuple):
    """How one rung stands. ``use`` is cost ÷ limit for everything that is limited: above 1 it misses.

    ``rank`` is its place in the ladder, 0 being the most accurate. ``proven``: it may be climbed to.
    """

    rank: int
    rung: RungModel
    use: dict[Cost, float]
    standing: Standing
    proven: bool

    @property
    def misses(self) -> list[Cost]:
        """What it costs too much of."""
        return [cost for cost, share in self.use.items() if share > 1]

    @property
    def feasible(self) -> bool:
        """Whether it meets every limit."""
        return all(share <= 1 for share in self.use.values())

    @property
    def fits_memory(self) -> bool:
        """Whether it fits the memory (or that is unknown)."""
        return self.use.get("memory", 0.0) <= 1

    @property
    def badness(self) -> tuple[float, float]:
        """What to minimise when nothing is feasible: memory first, since running out of it ends the worker."""
        too_big_mb = 0.0 if self.fits_memory else self.rung.peak_mb
        return too_big_mb, max((share for cost, share in self.use.items() if cost != "memory"), default=0.0)


def judge(
    state: GovernorState, now_s: float, ladder: Sequence[RungModel], limits: Limits, settings: GovernorSettings
) -> list[Verdict]:
    """Hold every rung against the limits.

    Args:
        state: for how long each rung has met them.
        now_s: monotonic time.
        ladder: most accurate first.
        limits: what a rung may cost now.
        settings: slack and times.

    Returns:
        One verdict per rung, in the order of the ladder.
    """
    return [_judge_one(rank, rung, state, now_s, limits, settings) for rank, rung in enumerate(ladder)]


def _judge_one(
    rank: int, rung: RungModel, state: GovernorState, now_s: float, limits: Limits, settings: GovernorSettings
) -> Verdict:
    use: dict[Cost, float] = {}
    if limits.memory_mb.value is not None:
        use["memory"] = _share(rung.peak_mb, limits.memory_mb.value)
    if limits.latency_ms.value is not None:
        use["latency"] = _share(rung.latency_ms, limits.latency_ms.value)
    if limits.energy_mj.value is not None:
        use["energy"] = _share(rung.energy_mj, limits.energy_mj.value)
    enough = 1 - settings.climb_slack
    clear = all(share <= enough for share in use.values())
    fits = all(share <= 1 for share in use.values())
    # A rung that has just joined the ladder was asked for under these limits: they have been proven already.
    before = state.standing.get(rung.id, Standing(fits_s=now_s - settings.patience_s))
    standing = Standing(
        fits_s=(now_s if before.fits_s is None else before.fits_s) if fits else None,
        clear_s=(now_s if before.clear_s is None else before.clear_s) if clear else None,
    )
    proven = (standing.fits_s is not None and now_s - standing.fits_s >= settings.patience_s) or (
        standing.clear_s is not None and now_s - standing.clear_s >= settings.dwell_s
    )
    return Verdict(rank, rung, use, standing, proven)


def _share(cost: float, limit: float) -> float:
    """Cost ÷ limit; where no network can meet the limit, still larger for what costs more."""
    return cost / max(limit, 1e-9)


def least_bad(verdicts: Sequence[Verdict]) -> Verdict:
    """Return the rung that violates least: the least memory, then the least overrun, then the most accurate."""
    return min(verdicts, key=lambda verdict: verdict.badness)
