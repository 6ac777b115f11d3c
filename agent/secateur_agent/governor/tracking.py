"""What the governor keeps from one sample to the next: the horizon's end, the battery's reserve, the expected traffic."""

from __future__ import annotations

import math
from collections.abc import Sequence

from msgspec.structs import replace

from secateur_agent.governor.ladder import RungModel
from secateur_agent.governor.limits import known
from secateur_agent.governor.types import GovernorSample, GovernorState, rebase
from secateur_agent.protocol.messages import Policy

_NO_HORIZON_S = 600.0


def advance(state: GovernorState, sample: GovernorSample, ladder: Sequence[RungModel], policy: Policy) -> GovernorState:
    """Bring the state up to the instant of ``sample``.

    Sets the deadline when the policy's horizon changes, follows battery and traffic, and forgets what was asked for if
    the ladder is another one (a rung that joins does not make it another).
    A clock that went backwards was rebooted: see `rebase`.
    """
    if sample.mono_s < state.mono_s:
        state = rebase(state, sample.mono_s)
    if policy.horizon_s != state.horizon_s:
        state = replace(
            state,
            horizon_s=policy.horizon_s,
            deadline_s=sample.mono_s + policy.horizon_s,
            battery_reference_mwh=None,
        )
    state = replace(_with_traffic(state, sample), mono_s=sample.mono_s)
    full_mwh = known(sample.battery_full_mwh)
    if full_mwh is not None:
        state = replace(state, battery_reference_mwh=full_mwh)
    elif state.battery_reference_mwh is None:
        state = replace(state, battery_reference_mwh=known(sample.battery_energy_mwh))
    if not set(state.standing) <= {rung.id for rung in ladder}:
        state = replace(state, asked=())
    return state


def _with_traffic(state: GovernorState, sample: GovernorSample) -> GovernorState:
    """Follow the mean request rate over a past that is a quarter as long as the time to the deadline.

    What drains a battery in eight hours is not what arrives this second; towards the deadline the mean becomes the
    present rate. It begins with the first request, so that the silence before does not count.
    """
    rate_hz = known(sample.request_rate_hz)
    if rate_hz is None or (state.expected_rate_hz is None and rate_hz <= 0):
        return state
    if state.expected_rate_hz is None:
        return replace(state, expected_rate_hz=rate_hz, traffic_since_s=sample.mono_s)
    remaining_s = state.deadline_s - sample.mono_s if state.horizon_s > 0 else _NO_HORIZON_S
    step_s = sample.mono_s - state.mono_s
    age_s = max(sample.mono_s - state.traffic_since_s, 1e-9)
    weight = 1 - math.exp(-step_s / max(remaining_s / 4, 1e-9))
    weight = min(1.0, max(weight, step_s / age_s))  # a plain mean while it is young
    return replace(state, expected_rate_hz=state.expected_rate_hz + weight * (rate_hz - state.expected_rate_hz))
