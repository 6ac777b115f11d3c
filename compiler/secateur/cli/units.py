"""Quantities on the command line: a number and its unit."""

from __future__ import annotations

import math
import re

_QUANTITY = re.compile(r"([0-9]*\.?[0-9]+(?:[eE][+-]?[0-9]+)?)\s*([A-Za-zµ]*)")

DURATION_S = {"us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
MEMORY_MB = {"kb": 1 / 1024, "mb": 1.0, "gb": 1024.0}


class UnitError(ValueError):
    """A quantity that cannot be read."""


def parse_duration_s(text: str, what: str = "duration") -> float:
    """Parse a duration such as ``5ms``, ``1.5s``, ``20min`` or ``2h``; the unit must be given.

    Returns:
        Seconds.

    Raises:
        UnitError: if it is something else.
    """
    return _parse(text, DURATION_S, what, "5ms, 1.5s, 20min, 2h or 1d")


def parse_memory_mb(text: str, what: str = "memory") -> float:
    """Parse an amount of memory such as ``120MB`` or ``1.5GB`` (1 MB is 2^20 bytes); the unit must be given.

    Returns:
        MB.

    Raises:
        UnitError: if it is something else.
    """
    return _parse(text, MEMORY_MB, what, "120MB or 1.5GB")


def _parse(text: str, units: dict[str, float], what: str, examples: str) -> float:
    match = _QUANTITY.fullmatch(text.strip())
    unit = match[2] if match else ""
    factor = units.get(unit) or units.get(unit.lower())
    value = float(match[1]) * factor if match and factor else 0.0
    if not value or not math.isfinite(value):
        raise UnitError(f"{what} {text!r}: write a number above 0 and a unit, such as {examples}")
    return value
