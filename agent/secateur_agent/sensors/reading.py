"""Make readings that keep the invariant: a value is finite, or it is None and the note says why."""

from __future__ import annotations

import math
from collections.abc import Callable

from secateur_agent.protocol.messages import Reading


def measured(value: float, unit: str, source: str, note: str = "") -> Reading:
    """A value that an instrument or the kernel reported. Returns: unavailable if it is not a finite number."""
    return sound(Reading(float(value), unit, source, "measured", note))


def estimated(value: float, unit: str, source: str, note: str) -> Reading:
    """A value derived from others by an assumption, which the note names. Returns: unavailable if not finite."""
    return sound(Reading(float(value), unit, source, "estimated", note))


def unavailable(unit: str, source: str, note: str) -> Reading:
    """No value, and why."""
    return Reading(None, unit, source, "unavailable", note)


def attempt(unit: str, source: str, read: Callable[[], float]) -> Reading:
    """Measure, or say why not.

    Args:
        unit: unit of the value that `read` returns.
        source: path or instrument, as a person on the device would look for it.
        read: returns the value; it may raise OSError, ValueError or ArithmeticError.

    Returns:
        A measured reading, or an unavailable one whose note is the error.
    """
    try:
        return measured(read(), unit, source)
    except (OSError, ValueError, ArithmeticError) as error:
        return unavailable(unit, source, reason(error))


def reason(error: Exception) -> str:
    """The error in a few words, without the path that `source` already tells."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__


def sound(reading: Reading) -> Reading:
    """Returns: the reading itself if it keeps the invariant, else an unavailable one."""
    if reading.value is None:
        if reading.quality == "unavailable":
            return reading
        return unavailable(reading.unit, reading.source, reading.note or "the sensor gave no value")
    if not math.isfinite(reading.value):
        return unavailable(reading.unit, reading.source, f"{reading.value} is not a measurement")
    if reading.quality == "unavailable":
        return unavailable(reading.unit, reading.source, reading.note or "the sensor marked its value as unavailable")
    return reading
