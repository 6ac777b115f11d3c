"""Time on boards without a clock chip. They wake up in 1970, and then no certificate is valid yet."""

from __future__ import annotations

import time
from pathlib import Path

from . import files
from .layout import Layout

LATEST_S = 4_102_444_800
"""2100: a floor beyond it is a mistake, and must not be followed."""


def set_floor(layout: Layout, clock_s: float) -> bool:
    """Set the system's clock to ``clock_s`` (Unix seconds) if it is behind that.

    Returns:
        Whether it was set.
    """
    if not layout.live or not time.time() < clock_s <= LATEST_S:
        return False
    try:
        time.clock_settime(time.CLOCK_REALTIME, clock_s)
    except OSError:
        return False  # a container; whoever runs it keeps its clock
    return True


def kept_floor_s(layout: Layout) -> float:
    """Return the time below which it cannot be: what the agent saved last, or 0."""
    return _number(layout.state / "clock")


def _number(path: Path) -> float:
    try:
        found = float(files.read_foreign(path, 40))
    except (OSError, ValueError):
        return 0.0
    return found if 0 <= found <= LATEST_S else 0.0
