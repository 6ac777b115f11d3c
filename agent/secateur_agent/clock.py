"""Wall time on boards without a clock chip: never below a floor that is kept on disk.

Such a board wakes up in 1970, or at the time its last shutdown happened to save. What was signed last year must not
become valid again, and what is signed today must not be "not yet valid", so time starts at the floor and runs on.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from secateur_agent.clock_floor import LATEST_S, RELEASE_FLOOR_S, floor_s
from secateur_agent.store import write_atomic

__all__ = ["RELEASE_FLOOR_S", "WallClock"]

_SAVE_EVERY_S = 3600.0


class WallClock:
    """Wall time that never goes below the floor.

    Args:
        path: the file that keeps the floor.
        wall: the system's wall clock, in Unix seconds.
        mono: the system's monotonic clock, in seconds.
    """

    def __init__(
        self, path: Path, wall: Callable[[], float] = time.time, mono: Callable[[], float] = time.monotonic
    ) -> None:
        self._path = path
        self._wall = wall
        self._mono = mono
        self._floor_s = floor_s([path])
        self._floor_mono_s = mono()
        self._saved_s = self._floor_s

    def now_s(self) -> float:
        """Return Unix time: the system's, or the floor plus the time since, whichever is later."""
        return max(self._wall(), self._floor_s + self._mono() - self._floor_mono_s)

    def keep(self, force: bool = False) -> None:
        """Save the present time as the floor, at most once an hour unless forced.

        Raises:
            secateur_agent.store.files.StoreError: if it cannot be written.
        """
        now_s = self.now_s()
        if now_s > LATEST_S or not (force or now_s - self._saved_s >= _SAVE_EVERY_S):
            return
        write_atomic(self._path, b"%d\n" % int(now_s))
        self._saved_s = now_s
