"""What runs as root around each start of the agent: sets a clock that is behind, takes back a release that never starts."""

from __future__ import annotations

from . import clock, record, releases
from .install import Say, go_back
from .layout import Layout

LONGEST_LIFE_S = 10 * 365 * 86_400.0
"""A board does not run for longer than this after it was flashed."""


def before_start(layout: Layout, say: Say) -> None:
    """Set the clock to its floor if it is behind; return to the release before if this one was tried too often."""
    installed_s = _installed_s(layout)
    # The agent's account writes what it saved; it must not be able to move the clock of the system to any time.
    floor_s = max(min(clock.kept_floor_s(layout), installed_s + LONGEST_LIFE_S), installed_s)
    if clock.set_floor(layout, floor_s):
        say("the clock was behind the time when the agent last ran and is set to that")
    release = releases.count_start(layout)
    if release:
        say(f"{releases.current(layout)} was started {releases.TRIAL_STARTS} times and did not show that it works")
        go_back(layout, release, say, start=False)


def after_start(layout: Layout) -> None:
    """The agent has said that it is ready: a trial that nobody watches any more is over."""
    if not releases.is_watched(layout):
        releases.end_trial(layout)


def _installed_s(layout: Layout) -> float:
    try:
        return float(str(record.read(layout)["clock_s"]))
    except (ValueError, KeyError):
        return 0.0
