"""Heat and clock while something is timed, and whether they slowed it down."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from secateur_agent.protocol.messages import Reading
from secateur_agent.protocol.timings import Conditions
from secateur_agent.sensors import discover, read_all

_SENSORS = ("cpu", "thermal", "rpi_throttled")
_LIMIT_FELL = 0.98
# Turbo clocks go up and down by a tenth without anything being too hot.
_CLOCK_FELL = 0.8


class Watch:
    """Looks at the sensors again and again while something is timed.

    Args:
        root: the folder that holds ``proc`` and ``sys``.
        throttle_c: the temperature from which the board slows down.

    Attributes:
        seen: what was found, in order.
    """

    def __init__(self, root: Path, throttle_c: float) -> None:
        self._sensors = [sensor for sensor in discover(root) if sensor.name in _SENSORS]
        self._throttle_c = throttle_c
        self.seen: list[Conditions] = []

    def look(self) -> None:
        """Read the sensors once."""
        self.seen.append(conditions_of(read_all(self._sensors)))

    @property
    def slowed(self) -> str:
        """Why what was timed meanwhile may be slower than the board is, '' if nothing says so."""
        return slowdown(self.seen, self._throttle_c)


def conditions_of(readings: dict[str, Reading]) -> Conditions:
    """Return what readings say of heat and clock; what is unavailable stays None."""

    def value(metric: str) -> float | None:
        reading = readings.get(metric)
        return None if reading is None or reading.value is None else round(reading.value, 1)

    throttled = value("throttled_now")
    return Conditions(
        temperature_c=value("temperature_c"),
        cpu_freq_mhz=value("cpu_freq_mhz"),
        cpu_freq_limit_mhz=value("cpu_freq_limit_mhz"),
        throttled=None if throttled is None else bool(throttled),
    )


def slowdown(seen: Sequence[Conditions], throttle_c: float) -> str:
    """Return why a measurement under these conditions may be slower than the board is, '' if nothing says so.

    All must be taken under load: an idle processor has a low clock, too.

    Args:
        seen: in the order in which it was seen.
        throttle_c: the temperature from which the board slows down.
    """
    if any(each.throttled for each in seen):
        return "the firmware throttled the processor"
    hottest_c = max((each.temperature_c for each in seen if each.temperature_c is not None), default=None)
    if hottest_c is not None and hottest_c >= throttle_c:
        return f"{hottest_c:.0f} °C, and the board slows down from {throttle_c:g} °C"
    for what, field, least in (
        ("the limit of the clock", "cpu_freq_limit_mhz", _LIMIT_FELL),
        ("the clock", "cpu_freq_mhz", _CLOCK_FELL),
    ):
        clocks_mhz = [clock for each in seen if (clock := getattr(each, field)) is not None]
        highest_mhz = 0.0
        for clock_mhz in clocks_mhz:
            highest_mhz = max(highest_mhz, clock_mhz)
            if clock_mhz < least * highest_mhz:
                return f"{what} fell from {highest_mhz:.0f} to {clock_mhz:.0f} MHz"
    return ""


def merged(seen: Sequence[Conditions]) -> Conditions:
    """Return the extremes of what was seen: the highest temperature, the lowest clocks, whether it ever throttled."""
    return Conditions(
        temperature_c=max((c.temperature_c for c in seen if c.temperature_c is not None), default=None),
        cpu_freq_mhz=min((c.cpu_freq_mhz for c in seen if c.cpu_freq_mhz is not None), default=None),
        cpu_freq_limit_mhz=min((c.cpu_freq_limit_mhz for c in seen if c.cpu_freq_limit_mhz is not None), default=None),
        throttled=any(bool(c.throttled) for c in seen) if any(c.throttled is not None for c in seen) else None,
    )
