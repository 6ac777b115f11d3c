"""Tells systemd that the agent is ready, alive, and ending (sd_notify(3)); silent where nobody asked to be told."""

from __future__ import annotations

import contextlib
import os
import socket


class ServiceManager:
    """The socket that the service manager named, if it did.

    The supervisor calls `alive` from its own loop: what stands still there stops the messages, and the watchdog of the unit
    starts the agent again.
    """

    def __init__(self) -> None:
        address = os.environ.pop("NOTIFY_SOCKET", "")  # children must not speak for the agent
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._ready = False

    def environment(self) -> dict[str, str]:
        """Return what a process that takes this one's place needs to go on."""
        shown = "@" + self._address[1:] if self._address.startswith("\0") else self._address
        return {"NOTIFY_SOCKET": shown} if shown else {}

    def alive(self) -> None:
        """Say that the loop goes round; the first time also that the agent is ready."""
        self._send("WATCHDOG=1" if self._ready else "READY=1\nWATCHDOG=1")
        self._ready = True

    def ending(self) -> None:
        """Say that the agent ends because it was told to."""
        self._send("STOPPING=1")

    def _send(self, text: str) -> None:
        if not self._address:
            return
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as out:
            out.sendto(text.encode(), socket.MSG_DONTWAIT, self._address)
