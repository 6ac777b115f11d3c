"""What goes into a decision and what comes out, as msgspec Structs: state can be persisted, decisions published."""

from __future__ import annotations

from typing import Any

import msgspec

from secateur_agent.protocol.messages import Constraints, SwitchMode


class GovernorSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How calmly the governor acts. What it aims at is the `Policy`; these need no change on an ordinary device."""

    climb_slack: float = 0.10
    """A rung is climbed to only if it leaves this share of every limit unused …"""
    dwell_s: float = 10.0
    """… for this long. Also the least time between any switch and the next climb."""
    patience_s: float = 60.0
    """A rung that just meets every limit, without slack, is climbed to after this long: a fixed limit that a rung meets
    by 5% must not keep it out for ever."""
    memory_margin_mb: float = 32.0
    """Of the memory that is free, this much is left to everybody else."""
    psi_memory_percent: float = 10.0
    """Above this share of stalled time the memory that looks free counts for less."""
    ask_after_s: float = 5.0
    """Constraints must stay alike for this long before a rung is asked for."""
    max_alike_asks: int = 2
    """Once the rung that was asked for has come and does not do, alike constraints are asked for again, up to this often."""
    bucket: float = 0.10
    """Constraints that differ by less than this share are alike."""
    min_latency_gap: float = 1.15
    """A rung is asked for between two others only if the larger costs this many times the smaller …"""
    min_room: float = 1.10
    """… the limit is this many times what the smaller costs …"""
    min_accuracy_gap: float = 0.005
    """… and the larger is this much more accurate (0.01 is one point)."""


class GovernorSample(msgspec.Struct, frozen=True, kw_only=True):
    """The device at one instant. None means unknown, and is never taken for 0."""

    mono_s: float
    mem_available_mb: float | None = None
    """Memory that the system could give without swapping (``MemAvailable``)."""
    cgroup_headroom_mb: float | None = None
    """What the cgroup may still take before its limit; None without a limit."""
    worker_rss_mb: float | None = None
    """Resident memory of the running worker, which a switch gives back; 0.0 if no worker runs."""
    runtime_base_mb: float | None = None
    """Of the worker's memory, what the bare runtime takes: two rungs in one worker share it."""
    psi_memory_some: float | None = None
    """Pressure stall information: percent of the last 10 s in which some task waited for memory."""
    throttle: float = 1.0
    """By what factor latency is longer now than unthrottled; at least 1."""
    request_rate_hz: float = 0.0
    """Inferences per second since the sample before; each sample of a batch counts."""
    battery_energy_mwh: float | None = None
    battery_full_mwh: float | None = None
    """Energy of the full battery; the reserve is a share of it, or else of the first energy seen."""
    battery_charging: bool | None = None
    idle_mw: float | None = None
    """Power of the whole device when nothing is inferred."""
    pin: str = ""
    """The rung that a person pinned, or ''."""


class Standing(msgspec.Struct, frozen=True):
    """Since when a rung meets the limits: ``fits_s`` just so, ``clear_s`` with slack; None if it does not now."""

    fits_s: float | None = None
    clear_s: float | None = None


class GovernorState(msgspec.Struct, frozen=True, kw_only=True):
    """All that the governor remembers. Times are on the monotonic clock of `GovernorSample.mono_s`."""

    mono_s: float = 0.0
    rung: str = ""
    switched_s: float = 0.0
    horizon_s: float = 0.0
    deadline_s: float = 0.0
    """When the horizon ends; set when ``horizon_s`` of the policy changes."""
    battery_reference_mwh: float | None = None
    """What the reserve is a share of."""
    expected_rate_hz: float | None = None
    """Request rate that is expected until the deadline; None before the first request, which `traffic_since_s` dates."""
    traffic_since_s: float = 0.0
    standing: dict[str, Standing] = {}
    """One entry per rung of the ladder that was seen last."""
    wish: Constraints | None = None
    wish_since_s: float = 0.0
    asked: tuple[Constraints, ...] = ()
    """What was asked for since the ladder lost a rung or is another one."""
    asked_with: tuple[str, ...] = ()
    """The rungs there were at the last ask."""
    asked_s: float | None = None


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """What to do: run ``rung``; publish ``ask`` as a `reprune` ask if there is one; ``reason`` for people, one line.

    ``evidence`` is JSON-able: the limits and where they come from, and per rung its costs and what it misses.
    """

    rung: str
    ask: Constraints | None = None
    reason: str = ""
    evidence: dict[str, Any] = {}
    switch: SwitchMode = "overlap"
    """How to go to ``rung`` if another one serves."""
    changed: bool = False
    """Whether ``rung`` differs from the decision before."""


def rebase(state: GovernorState, mono_s: float) -> GovernorState:
    """Continue a persisted state on a clock that began anew (after a reboot).

    Args:
        state: as it was persisted.
        mono_s: the new clock's time now; the time that the device was off counts as no time.

    Returns:
        The state with all of its times moved.
    """
    shift = mono_s - state.mono_s

    def moved(time_s: float | None) -> float | None:
        return None if time_s is None else time_s + shift

    return msgspec.structs.replace(
        state,
        mono_s=mono_s,
        switched_s=state.switched_s + shift,
        deadline_s=state.deadline_s + shift,
        standing={rung: Standing(moved(at.fits_s), moved(at.clear_s)) for rung, at in state.standing.items()},
        traffic_since_s=state.traffic_since_s + shift,
        wish_since_s=state.wish_since_s + shift,
        asked_s=moved(state.asked_s),
    )
