"""What the connection puts into the supervisor's inbox."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Connected:
    """The broker accepted the connection. ``session_present``: it kept subscriptions and queued messages."""

    session_present: bool


@dataclass(frozen=True)
class Disconnected:
    """There is no connection; attempts go on. ``reason`` is one line. ``fault``: waiting alone will not mend it."""

    reason: str
    fault: bool = False


@dataclass(frozen=True)
class Received:
    """A message. Call `acknowledge` on each once it is handled (or refused): the broker repeats what is not, after a
    reconnect, and stops sending when too much is open."""

    topic: str
    payload: bytes
    retained: bool
    _acknowledge: Callable[[], None] | None = field(default=None, repr=False, compare=False)

    def acknowledge(self) -> None:
        """Tell the broker that the message is dealt with. Has no effect after the connection has ended."""
        if self._acknowledge is not None:
            self._acknowledge()
