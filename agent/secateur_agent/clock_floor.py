"""The time before which it cannot be, on boards without a clock chip: kept in files of Unix seconds in decimal.

The setup program sets the system's clock to it before the agent starts (`secateur_agent.board.clock`).
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterable
from pathlib import Path

RELEASE_FLOOR_S = 1_735_689_600.0
"""No agent of this version can run before it was written: 2025-01-01."""
LATEST_S = 4_102_444_800.0
"""2100-01-01: a clock beyond it is broken, and no floor follows it."""


def saved_s(path: Path) -> float:
    """Return the Unix time that a file holds; 0 if it is not there, damaged, not a regular file, or out of any reason."""
    try:
        # It may lie in a folder of a user with fewer rights than the reader's: no links, no pipes.
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return 0.0
    try:
        content = os.read(descriptor, 40) if stat.S_ISREG(os.fstat(descriptor).st_mode) else b""
        found_s = float(content)
    except (OSError, ValueError):
        return 0.0
    finally:
        os.close(descriptor)
    return found_s if 0 <= found_s <= LATEST_S else 0.0


def floor_s(paths: Iterable[Path]) -> float:
    """Return the time before which it cannot be: the latest that any of the files holds, or this version's release."""
    return max([RELEASE_FLOOR_S, *map(saved_s, paths)])


def utc(wall_s: float) -> str:
    """Return a Unix time as a person reads it."""
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(wall_s))
