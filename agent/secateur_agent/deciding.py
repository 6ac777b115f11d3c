"""What shall be served now: readings go to the governor, what it decides goes to the worker, the host and the journal."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from secateur_agent.asks import Asks
from secateur_agent.governing import (
    THROTTLE_SENSORS,
    TICK_SENSORS,
    Governing,
    RequestRate,
    governor_sample,
    may_be_throttled,
)
from secateur_agent.governor import Decision
from secateur_agent.install.ladder_keeper import LadderKeeper
from secateur_agent.installed_ladder import InstalledLadder
from secateur_agent.measurements import Measurements
from secateur_agent.protocol.messages import AskReprune, Policy, Reading, encode
from secateur_agent.sensors import Sensor, read_all
from secateur_agent.shadow_state import DesiredShadow
from secateur_agent.switching import ServingWorker
from secateur_profiles import Profile

_QUIET_TICKS = 5
_MOST_MEASUREMENTS = 64
"""As many as one ask carries."""


class Deciding:
    """Decides for one device.

    Args:
        profile: the device's.
        sensors: all that it has; decisions read those they need.
        governing: the governor with its memory.
        keeper: the installed ladder.
        measurements: what rungs took here.
        shadow: policy and pin come from it.
        worker: serves what is decided.
        asks: take a wish for another rung to the host.
        announce: tells a decision: kind of event, text, evidence.
        installing: whether rungs are on their way, so that a pinned one which is unknown may come yet.
    """

    def __init__(
        self,
        profile: Profile,
        sensors: Sequence[Sensor],
        governing: Governing,
        keeper: LadderKeeper,
        measurements: Measurements,
        shadow: DesiredShadow,
        worker: ServingWorker,
        asks: Asks,
        announce: Callable[[str, str, dict[str, Any]], None],
        installing: Callable[[], bool],
    ) -> None:
        self._profile = profile
        self._tick_sensors = [each for each in sensors if each.name in TICK_SENSORS]
        self._throttle_sensors = [each for each in sensors if each.name in THROTTLE_SENSORS]
        self._governing = governing
        self._keeper = keeper
        self._measurements = measurements
        self._shadow = shadow
        self._worker = worker
        self._asks = asks
        self._announce = announce
        self._installing = installing
        self._rate = RequestRate()
        self._ticks = 0
        self._unknown_pin = ""

    def count(self, now_s: float) -> None:
        """Take the number of inferences that the worker has made so far."""
        self._rate.update(now_s, self._worker.inferences)

    def due(self) -> bool:
        """Count a tick; return whether it is one to decide at.

        While nobody waits for an answer they are fewer, which spares the battery.
        """
        self._ticks += 1
        return not self._rate.quiet or self._ticks >= _QUIET_TICKS

    def read(self) -> dict[str, Reading]:
        """Read what a decision needs."""
        readings = read_all(self._tick_sensors)
        if may_be_throttled(readings, self._profile):
            readings |= read_all(self._throttle_sensors)
        return readings

    def decide(self, now_s: float, readings: dict[str, Reading]) -> None:
        """Decide, and have it served; an ask for another rung goes to the host. Nothing happens without a ladder.

        Args:
            now_s: the monotonic clock.
            readings: at least those of `read`.
        """
        self._ticks = 0
        ladder = self._current_ladder()
        desired = self._shadow.desired
        pin = desired.pin if desired else ""
        sample = governor_sample(readings, self._profile, now_s, self._rate.hz, self._worker.rss_mb, pin)
        decision = self._governing.decide(sample, desired.policy if desired else Policy())
        if decision is None or ladder is None:
            return
        self._tell(decision, pin)
        if decision.ask is not None:
            self._ask(decision, ladder.manifest_sha256)
        self._worker.serve(ladder.load_request(ladder.entries[decision.rung], self._profile), decision.switch)

    def step_below(self, rung: str, now_s: float) -> None:
        """Choose from what is smaller than ``rung`` for a while, for it was too much for this board."""
        self._keeper.ban_from(rung, self._governing.rungs, now_s)

    def _current_ladder(self) -> InstalledLadder | None:
        keeper = self._keeper
        if keeper.changed:
            digest = keeper.ladder.manifest_sha256 if keeper.ladder else ""
            self._governing.take_ladder(keeper.ladder, self._measurements.of(digest), keeper.banned)
            keeper.changed = False
        return keeper.ladder

    def _tell(self, decision: Decision, pin: str) -> None:
        unknown = pin if pin not in self._governing.rungs and not self._installing() else ""
        if decision.changed or decision.ask is not None or unknown not in ("", self._unknown_pin):
            asked = {"ask": encode(decision.ask).decode()} if decision.ask else {}
            self._announce("decision", f"{decision.rung}: {decision.reason}", {**decision.evidence, **asked})
        self._unknown_pin = unknown

    def _ask(self, decision: Decision, manifest_sha256: str) -> None:
        assert decision.ask is not None
        ask = AskReprune(
            manifest_sha256=manifest_sha256,
            precision=self._governing.precision(decision.rung),
            constraints=decision.ask,
            measurements=self._measurements.of(manifest_sha256)[:_MOST_MEASUREMENTS],
            reason=decision.reason[:2000],
        )
        self._asks.reprune(ask)
