"""Tells systemd that the agent is ready, alive, and ending (sd_notify(3)); silent where nobody asked to be told."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Mapping

_RARELY_S = 10.0
"""A message costs as much as a reading of a sensor."""


class ServiceManager:
    """The socket that the service manager named, if it did.

    The supervisor calls `alive` from its own loop: if that stands still, the messages stop, and the watchdog of the unit
    starts the agent again. Children have the same environment; systemd does not listen to them.

    Args:
        environment: ``NOTIFY_SOCKET`` is the socket, ``WATCHDOG_USEC`` after how many microseconds without a message the
            agent is taken for dead.
    """

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        address = environment.get("NOTIFY_SOCKET", "")
        self._address = "\0" + address[1:] if address.startswith("@") else address
        watchdog = environment.get("WATCHDOG_USEC", "")
        self._every_s = min(_RARELY_S, int(watchdog) / 4e6) if watchdog.isascii() and watchdog.isdigit() else _RARELY_S
        self._next_s = -1.0
        self._ready = False

    def alive(self, now_s: float) -> None:
        """Say that the loop goes round, now and then; the first time also that the agent is ready.

        Args:
            now_s: monotonic time.
        """
        if now_s < self._next_s or not self._address:
            return
        if self._send("WATCHDOG=1" if self._ready else "READY=1\nWATCHDOG=1"):
            self._next_s = now_s + self._every_s
            self._ready = True

    def ending(self) -> None:
        """Say that the agent ends because it was told to."""
        self._send("STOPPING=1")

    def _send(self, text: str) -> bool:
        """Return whether it was taken; a service manager that is busy may not."""
        if not self._address:
            return False
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as out:
            out.sendto(text.encode(), socket.MSG_DONTWAIT, self._address)
            return True
        return False
