"""Rungs held against the limits."""

from __future__ import annotations

from secateur_agent.governor.feasibility import Verdict, judge, least_bad
from secateur_agent.governor.ladder import RungModel
from secateur_agent.governor.limits import Limit, Limits
from secateur_agent.governor.types import GovernorSettings, GovernorState, Standing

NONE = Limit(None, "no objective")


def rung(name: str, latency_ms: float, peak_mb: float, energy_mj: float = 1.0) -> RungModel:
    return RungModel(
        id=name,
        precision="int8",
        accuracy=0.9,
        latency_ms=latency_ms,
        latency_source="measured",
        peak_mb=peak_mb,
        energy_mj=energy_mj,
        energy_source="measured",
    )


def judged(
    ladder: tuple[RungModel, ...],
    latency_ms: float | None = None,
    memory_mb: float | None = None,
    energy_mj: float | None = None,
    state: GovernorState | None = None,
    now_s: float = 100.0,
) -> list[Verdict]:
    limits = Limits(latency_ms=Limit(latency_ms, ""), memory_mb=Limit(memory_mb, ""), energy_mj=Limit(energy_mj, ""))
    return judge(state or GovernorState(), now_s, ladder, limits, GovernorSettings())


def test_what_is_not_limited_is_met() -> None:
    (verdict,) = judged((rung("r0-int8", 1e9, 1e9),))
    assert verdict.feasible
    assert verdict.misses == []


def test_a_rung_exactly_at_the_limit_meets_it() -> None:
    (verdict,) = judged((rung("r0-int8", 10, 100),), latency_ms=10, memory_mb=100)
    assert verdict.feasible


def test_names_everything_that_a_rung_costs_too_much_of() -> None:
    (verdict,) = judged((rung("r0-int8", 11, 101, 2.0),), latency_ms=10, memory_mb=100, energy_mj=1.0)
    assert verdict.misses == ["memory", "latency", "energy"]
    assert not verdict.fits_memory


def test_a_limit_that_no_network_can_meet_is_missed_by_all_and_least_by_the_smallest() -> None:
    verdicts = judged((rung("r0-int8", 10, 100, 9.0), rung("r1-int8", 5, 50, 4.0)), energy_mj=-3.0)
    assert [verdict.misses for verdict in verdicts] == [["energy"], ["energy"]]
    assert least_bad(verdicts).rung.id == "r1-int8"


def test_least_bad_prefers_what_fits_the_memory_to_what_is_fast() -> None:
    verdicts = judged((rung("r0-int8", 1, 200), rung("r1-int8", 90, 100)), latency_ms=10, memory_mb=150)
    assert least_bad(verdicts).rung.id == "r1-int8"


def test_standing_counts_from_when_slack_began_and_is_lost_with_it() -> None:
    ladder, known = (rung("r0-int8", 9, 1),), GovernorState(standing={"r0-int8": Standing()})
    (verdict,) = judged(ladder, latency_ms=10, state=known, now_s=50)
    assert verdict.standing == Standing(fits_s=50, clear_s=50)
    assert not verdict.proven
    kept = GovernorState(standing={"r0-int8": verdict.standing})
    assert judged(ladder, latency_ms=10, state=kept, now_s=60)[0].proven
    assert judged(ladder, latency_ms=9.5, state=kept, now_s=60)[0].standing == Standing(fits_s=50)
    assert judged(ladder, latency_ms=8, state=kept, now_s=60)[0].standing == Standing()


def test_a_rung_that_joins_the_ladder_is_proven_if_it_fits() -> None:
    fits, too_slow = judged((rung("r8-int8", 9.9, 1), rung("r9-int8", 10.1, 1)), latency_ms=10)
    assert fits.proven
    assert not too_slow.proven
