"""What to measure of a rung, and what came of it. The supervisor imports this: neither numpy nor a runtime here."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from secateur_agent.bundle.manifest import Golden
from secateur_agent.inference.control import LoadRung
from secateur_agent.protocol.messages import Positive, RungMeasurement
from secateur_agent.protocol.timings import Conditions


class ProfileRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Measure this rung."""

    load: LoadRung
    golden: Golden | None = None
    """Expected outputs; None measures without a check."""
    warmup: Annotated[int, Meta(ge=0, le=100_000)] = 3
    """Runs before those that count."""
    runs: Annotated[int, Meta(ge=1, le=100_000)] = 50
    min_time_s: Annotated[float, Meta(ge=0, le=600)] = 0.0
    """Go on for at least this time: thirty runs of a tiny network are over before the processor's clock has settled."""
    time_limit_s: Positive = 30.0
    """Stop after this time, with the runs made until then."""
    energy_per_ms_mw: Positive | None = None
    """Power in mW that a run adds, for the estimate energy = power × time; None gives no energy."""
    sysfs_root: str = ""
    """Folder of ``proc`` and ``sys``: look at heat and clock, and measure energy where a sensor allows; '' for neither."""
    throttle_c: float = 200.0
    """Temperature from which the board slows down."""


class HowMeasured(msgspec.Struct, frozen=True, kw_only=True):
    """Under which conditions a rung was measured. ``slowed``: why it may be faster than that, '' if nothing says so."""

    threads: int
    warmup: int
    runs: int
    conditions: Conditions = Conditions()
    slowed: str = ""
    energy_source: str = ""


class ProfileResult(msgspec.Struct, frozen=True, kw_only=True):
    """``ok`` means that the rung ran and, if there was a golden check, computed what it should."""

    ok: bool
    error: str = ""
    measurement: RungMeasurement | None = None
    golden_error: float | None = None
    """Largest absolute difference from the expected outputs; None if there was no check or the result is not finite."""
    providers: tuple[str, ...] = ()
    fallback: str = ""
    how: HowMeasured | None = None
    """None if nobody asked to look."""
