"""What a case gives back, and how it says what it is doing."""

from __future__ import annotations

import time
from dataclasses import dataclass

_BEGAN = time.monotonic()


@dataclass(frozen=True)
class Measured:
    """One value of one figure: ``id`` of the figure, ``case`` it was measured on, ``value`` in the figure's unit."""

    id: str
    case: str
    value: float


class NoDataError(RuntimeError):
    """Data that cannot be part of the repository are not there; the case is skipped and says how to get them."""


def say(text: str) -> None:
    """Print a line of progress with the seconds since this process started."""
    print(f"  [{time.monotonic() - _BEGAN:6.1f} s] {text}", flush=True)
