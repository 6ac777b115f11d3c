"""The floor of a board's clock, and setting the system clock to it before the agent starts.

Standard library only. ``python -m secateur_agent.system_clock FILE…`` is for root, at each boot (``ExecStartPre=+`` of the
unit): TLS compares certificates with the system's clock, which on a board without a clock chip says 1970 or the time of
the last shutdown. Each file holds Unix seconds in decimal: the floor that the agent keeps, the time of flashing.
"""

from __future__ import annotations

import os
import stat
import sys
import time
from collections.abc import Callable, Iterable, Sequence
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


def set_if_behind(
    floor: float,
    now: Callable[[], float] = time.time,
    set_time: Callable[[float], None] = lambda wall_s: time.clock_settime(time.CLOCK_REALTIME, wall_s),
) -> bool:
    """Set the system's clock to the floor if it is behind it; needs root.

    Returns:
        Whether it was behind.

    Raises:
        OSError: if it may not be set.
    """
    if now() >= floor:
        return False
    set_time(floor)
    return True


def main(arguments: Sequence[str] | None = None) -> int:
    """Set the clock to the floor of the files that are named; return the exit status.

    A clock that may not be set is told, and no error: the agent serves without a broker.
    """
    floor = floor_s(Path(each) for each in (sys.argv[1:] if arguments is None else arguments))
    before = time.time()
    try:
        if set_if_behind(floor):
            print(f"clock: it said {utc(before)}, which cannot be; set to {utc(floor)}", flush=True)
    except OSError as error:
        print(f"clock: it says {utc(before)}, before {utc(floor)}, and cannot be set: {error.strerror}", file=sys.stderr)
    return 0


def utc(wall_s: float) -> str:
    """Return a Unix time as a person reads it."""
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(wall_s))


if __name__ == "__main__":
    sys.exit(main())
