"""The governor against simulated devices, and against a clairvoyant that knows the whole trace in advance.

Everything here is simulated: no figure says anything about a real board.
"""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from secateur_agent.governor import GovernorSample, GovernorState, RungModel, decide
from secateur_agent.protocol.messages import Policy

TICK_S = 5
IDLE_MW = 400.0


def rung(name: str, accuracy: float, latency_ms: float, peak_mb: float, energy_mj: float) -> RungModel:
    return RungModel(
        id=name,
        precision="int8",
        accuracy=accuracy,
        latency_ms=latency_ms,
        latency_source="measured",
        peak_mb=peak_mb,
        energy_mj=energy_mj,
        energy_source="measured",
    )


LADDER = (
    rung("r0-int8", 0.92, 20, 220, 60),
    rung("r1-int8", 0.89, 13, 160, 39),
    rung("r2-int8", 0.82, 8, 125, 24),
    rung("r3-int8", 0.66, 4, 100, 12),
)


def always(value: float) -> Callable[[float], float]:
    return lambda time_s: value


@dataclass
class Trace:
    """A simulated device: what it does at each second, whatever the governor decides."""

    name: str
    seconds: int = 7200
    policy: Policy = field(default_factory=Policy)
    battery_mwh: float | None = None
    rate_hz: Callable[[float], float] = field(default=always(10.0))
    throttle: Callable[[float], float] = field(default=always(1.0))
    free_mb: Callable[[float], float] = field(default=always(4000.0))
    """Memory for the worker: what is available plus what it holds, less the governor's margin."""
    noise: float = 0.0
    """Relative noise of what the governor sees of throttle and request rate."""
    battery_steps: int = 0
    """If not 0, the battery tells its energy in so many steps only."""
    energy_error: float = 1.0
    """What an inference really takes, over what the governor believes."""


@dataclass
class Outcome:
    accuracy: float
    battery_left_mwh: float | None
    switches: int


def play(trace: Trace, pin: str = "") -> Outcome:
    """Run the governor on a trace; accuracy is the mean over all requests."""
    randomness = random.Random(trace.name)
    state, energy_mj = GovernorState(), (trace.battery_mwh or 0) * 3600
    by_id = {model.id: model for model in LADDER}
    right = requests = 0.0
    switches, rss_mb = 0, 100.0
    for time_s in range(0, trace.seconds, TICK_S):
        seen_mwh = None if trace.battery_mwh is None else energy_mj / 3600
        if seen_mwh is not None and trace.battery_mwh and trace.battery_steps:
            step_mwh = trace.battery_mwh / trace.battery_steps
            seen_mwh = math.ceil(seen_mwh / step_mwh) * step_mwh
        jitter = 1 + trace.noise * randomness.uniform(-1, 1)
        sample = GovernorSample(
            mono_s=float(time_s),
            mem_available_mb=trace.free_mb(time_s) - rss_mb + 32,
            worker_rss_mb=rss_mb,
            throttle=trace.throttle(time_s) * jitter,
            request_rate_hz=trace.rate_hz(time_s) * jitter,
            battery_energy_mwh=seen_mwh,
            battery_charging=None if trace.battery_mwh is None else False,
            idle_mw=IDLE_MW,
            pin=pin,
        )
        state, decision = decide(state, sample, LADDER, trace.policy)
        model = by_id[decision.rung]
        switches += decision.changed
        rss_mb = model.peak_mb
        count = trace.rate_hz(time_s) * TICK_S
        energy_mj -= IDLE_MW * TICK_S + count * model.energy_mj * trace.energy_error
        right += count * model.accuracy
        requests += count
    return Outcome(right / requests, None if trace.battery_mwh is None else energy_mj / 3600, switches)


def clairvoyant(trace: Trace) -> float:
    """A mean accuracy that no sequence of rungs can beat, even one chosen with the whole trace in view.

    It meets the limits at each tick and may empty the battery to the reserve. At a price per mJ each tick has its own
    best rung; whatever the price, that total plus the price of the whole budget bounds every affordable sequence
    (Lagrangian duality), and the lowest such bound is the optimum but for one tick.
    """
    budget_mj = math.inf
    if trace.battery_mwh is not None:
        usable_mwh = trace.battery_mwh * (1 - trace.policy.battery_reserve_percent / 100)
        budget_mj = usable_mwh * 3600 - IDLE_MW * trace.seconds
    ticks: Counter[tuple[float, tuple[RungModel, ...]]] = Counter()
    for time_s in range(0, trace.seconds, TICK_S):
        limit_ms = (trace.policy.latency_ms or math.inf) / trace.throttle(time_s)
        allowed = tuple(m for m in LADDER if m.latency_ms <= limit_ms and m.peak_mb <= trace.free_mb(time_s))
        ticks[trace.rate_hz(time_s) * TICK_S, allowed or LADDER[-1:]] += 1

    def bound(price: float) -> float:
        best = sum(
            times * count * max(m.accuracy - price * m.energy_mj * trace.energy_error for m in allowed)
            for (count, allowed), times in ticks.items()
        )
        return best + (price * budget_mj if price else 0.0)

    low, high = 0.0, 0.0 if budget_mj == math.inf else 1.0  # the bound is convex in the price
    while high - low > 1e-9:
        left, right = low + (high - low) / 3, high - (high - low) / 3
        low, high = (low, right) if bound(left) <= bound(right) else (left, high)
    return bound(low) / sum(count * times for (count, _), times in ticks.items())


def day(time_s: float) -> float:
    """Busy and quiet quarters of an hour."""
    return 16.0 if int(time_s / 900) % 2 else 5.0


def heat(time_s: float) -> float:
    """Heats up and cools down every 40 minutes, to 1.9 times the latency."""
    return 1.0 + 0.9 * max(0.0, math.sin(2 * math.pi * time_s / 2400))


def neighbours(time_s: float) -> float:
    """Another program takes memory for ten minutes of every half hour."""
    return 140.0 if 600 <= time_s % 1800 < 1200 else 400.0


# r0 draws 1000 mW at 10 requests a second, r3 520; 1500 mWh less 5% last two hours at 712 mW.
BATTERY = Policy(horizon_s=7200)
TRACES = [
    Trace("battery", policy=BATTERY, battery_mwh=1500),
    Trace("battery-tight", policy=BATTERY, battery_mwh=1200),
    Trace("battery-busy-and-quiet", policy=BATTERY, battery_mwh=1500, rate_hz=day),
    Trace("battery-in-steps-of-1%-with-noise", policy=BATTERY, battery_mwh=1500, battery_steps=100, noise=0.05),
    Trace("battery-costs-15%-more-than-believed", policy=BATTERY, battery_mwh=1500, energy_error=1.15),
    Trace("heat", policy=Policy(latency_ms=22), throttle=heat),
    Trace("heat-with-noise", policy=Policy(latency_ms=22), throttle=heat, noise=0.04),
    Trace("memory", free_mb=neighbours),
    Trace(
        "everything",
        policy=Policy(latency_ms=22, horizon_s=7200),
        battery_mwh=1500,
        rate_hz=day,
        throttle=heat,
        free_mb=neighbours,
        noise=0.03,
    ),
]


@pytest.mark.parametrize("trace", TRACES, ids=lambda trace: str(trace.name))
def test_governor_is_close_to_the_clairvoyant_and_reaches_the_horizon(trace: Trace) -> None:
    outcome = play(trace)
    best = clairvoyant(trace)
    print(f"simulated {trace.name}: {outcome.accuracy:.4f} of {best:.4f} = {outcome.accuracy / best:.3f}, {outcome}")
    assert outcome.accuracy / best >= 0.97
    assert outcome.battery_left_mwh is None or outcome.battery_left_mwh > 0
    assert outcome.switches <= trace.seconds / 60


@pytest.mark.parametrize("trace", [t for t in TRACES if t.battery_mwh], ids=lambda trace: str(trace.name))
def test_the_pinned_top_rung_would_miss_the_horizon(trace: Trace) -> None:
    left_mwh = play(trace, pin="r0-int8").battery_left_mwh
    assert left_mwh is not None
    assert left_mwh < 0


def test_the_best_fixed_rung_does_worse_than_the_governor_when_the_device_changes() -> None:
    trace = next(trace for trace in TRACES if trace.name == "battery")
    reaching = [play(trace, pin=model.id) for model in LADDER]
    fixed = max(o.accuracy for o in reaching if (o.battery_left_mwh or 0) > 0)
    assert play(trace).accuracy > fixed
