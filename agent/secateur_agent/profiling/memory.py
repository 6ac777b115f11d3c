"""Resident memory of this process, in MB of 2^20 bytes."""

from __future__ import annotations

import sys
from pathlib import Path

_STATUS = Path("/proc/self/status")
_MIB = 1 << 20


def rss_mb() -> float | None:
    """Return the resident memory now, or None where the system does not tell."""
    return _status_mb("VmRSS")


def peak_rss_mb() -> float | None:
    """Return the highest resident memory since the process started, or None where the system does not tell."""
    return _status_mb("VmHWM") or _maximum_mb()


def _status_mb(field: str) -> float | None:
    try:
        lines = _STATUS.read_text("ascii", "replace").splitlines()
    except OSError:
        return None
    for line in lines:
        name, _, value = line.partition(":")
        number = value.split()[:1]
        if name == field and number and number[0].isdigit():
            return int(number[0]) / 1024
    return None


def _maximum_mb() -> float | None:
    # Not VmHWM's equal: ru_maxrss of a process that was forked begins at its parent's.
    try:
        import resource
    except ImportError:
        return None
    maximum = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return maximum / (_MIB if sys.platform == "darwin" else 1024)
