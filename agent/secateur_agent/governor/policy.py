"""The policy: one sample of the device in, one decision out. Pure; whoever calls it keeps the state.

Down at once, up with slack that has lasted, and never up soon after a switch: so noise in a reading can push the
network down once, but not make it swing.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from secateur_agent.governor import reprune
from secateur_agent.governor.evidence import evidence, missed_in_words
from secateur_agent.governor.feasibility import Verdict, judge, least_bad
from secateur_agent.governor.ladder import RungModel
from secateur_agent.governor.limits import Limits, known, limits_now
from secateur_agent.governor.switch_mode import choose_switch
from secateur_agent.governor.tracking import advance
from secateur_agent.governor.types import Decision, GovernorSample, GovernorSettings, GovernorState
from secateur_agent.protocol.messages import Constraints, Policy, SwitchMode


def decide(
    state: GovernorState,
    sample: GovernorSample,
    ladder: Sequence[RungModel],
    policy: Policy,
    settings: GovernorSettings | None = None,
) -> tuple[GovernorState, Decision]:
    """Pick the rung to run now, and whether to ask the host for another.

    Args:
        state: what the call before returned; at first ``GovernorState()``.
        sample: the device now.
        ladder: the rungs that can run, most accurate first (`merge`); leave out those that failed to load.
        policy: the objectives.
        settings: slack and times; the defaults suit an ordinary device.

    Returns:
        The state for the next call, and the decision. The same arguments always give the same result.

    Raises:
        ValueError: if the ladder is empty.
    """
    if not ladder:
        raise ValueError("governor: the ladder has no rung; there is nothing to choose from")
    settings = settings or GovernorSettings()
    state = advance(state, sample, ladder, policy)
    limits = limits_now(sample, policy, state, settings)
    verdicts = judge(state, sample.mono_s, ladder, limits, settings)
    state = replace(state, standing={verdict.rung.id: verdict.standing for verdict in verdicts})

    ask: Constraints | None = None
    pinned = next((verdict for verdict in verdicts if verdict.rung.id == sample.pin), None)
    if pinned is not None:
        chosen, reason = pinned, _pin_reason(pinned, limits)
        state = replace(state, wish=None)
    else:
        chosen, reason = _choose(state, sample, verdicts, limits, settings)
        if sample.pin:
            reason = f"pinned rung {sample.pin} is not in the ladder; {reason}"
        state, ask = reprune.consider(state, sample.mono_s, verdicts, limits, policy, settings)

    changed = chosen.rung.id != state.rung
    record = evidence(sample, limits, verdicts)
    mode: SwitchMode = "overlap"
    if changed:
        if state.rung:
            switch = choose_switch(sample, chosen.rung, settings)
            mode, record["switch"] = switch.mode, switch.evidence
            reason = "; ".join(filter(None, (reason, switch.reason)))
        state = replace(state, rung=chosen.rung.id, switched_s=sample.mono_s)
    return state, Decision(rung=chosen.rung.id, ask=ask, reason=reason, evidence=record, switch=mode, changed=changed)


def _choose(
    state: GovernorState, sample: GovernorSample, verdicts: Sequence[Verdict], limits: Limits, settings: GovernorSettings
) -> tuple[Verdict, str]:
    """Choose among the rungs without a pin.

    While a worker is being replaced it is unknown what it holds, so memory limits nothing; that is no time to go up.
    """
    current = next((verdict for verdict in verdicts if verdict.rung.id == state.rung), None)
    feasible = [verdict for verdict in verdicts if verdict.feasible]
    blind = known(sample.mem_available_mb) is not None and known(sample.worker_rss_mb) is None
    rested = sample.mono_s - state.switched_s >= settings.dwell_s and not blind
    if current is None:
        return _start(verdicts, feasible, limits)
    if current.feasible:
        better = next((verdict for verdict in feasible[: feasible.index(current)] if verdict.proven), None)
        if better is not None and rested:
            return better, f"up from {state.rung}: {better.rung.id} has met every limit for long enough"
        return current, _holding(current, verdicts, limits)

    left = f"{state.rung} misses {missed_in_words(current, limits)}"
    below = [verdict for verdict in feasible if verdict.rank > current.rank]
    if below:
        return below[0], f"down: {left}"
    if feasible:  # only more accurate rungs are feasible, as can be with several precisions
        if not current.fits_memory or (feasible[0].proven and rested):
            return feasible[0], f"{left}; {feasible[0].rung.id} does not"
        return current, f"{left}; waiting to be sure of {feasible[0].rung.id}"
    return _least_bad(current, verdicts, left, rested, settings)


def _start(verdicts: Sequence[Verdict], feasible: Sequence[Verdict], limits: Limits) -> tuple[Verdict, str]:
    if feasible:
        above = f"; {verdicts[0].rung.id} misses {missed_in_words(verdicts[0], limits)}" if feasible[0].rank else ""
        return feasible[0], f"the most accurate rung that meets every limit{above}"
    chosen = least_bad(verdicts)
    return chosen, f"nothing is feasible; the least bad misses {missed_in_words(chosen, limits)}"


def _holding(current: Verdict, verdicts: Sequence[Verdict], limits: Limits) -> str:
    if current.rank == 0:
        return "the most accurate rung meets every limit"
    above = verdicts[current.rank - 1]
    if above.feasible:
        return f"{above.rung.id} meets every limit again; waiting to be sure"
    return f"{above.rung.id} misses {missed_in_words(above, limits)}"


def _least_bad(
    current: Verdict, verdicts: Sequence[Verdict], left: str, rested: bool, settings: GovernorSettings
) -> tuple[Verdict, str]:
    """Nothing is feasible: memory decides at once; otherwise move only for a clear gain, and up only when rested."""
    chosen = least_bad(verdicts)
    why = f"nothing is feasible; {left}"
    if current.badness[0] <= chosen.badness[0]:
        gain = current.badness[1] > chosen.badness[1] * (1 + settings.climb_slack)
        if not gain or (chosen.rank < current.rank and not rested):
            return current, why
    return chosen, f"{why}, {chosen.rung.id} misses least"


def _pin_reason(pinned: Verdict, limits: Limits) -> str:
    missed = missed_in_words(pinned, limits)
    return "pinned" + (f", although it misses {missed}" if missed else "")
