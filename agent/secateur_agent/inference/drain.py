"""Runs a waitress server until it is told to end, and then answers whatever is on its way.

waitress itself drops requests that wait for a thread, or lie unread in a connection, when it ends. A restart of the agent
must cost no request: the listening socket stays open, so the next worker takes new connections, and this one has only to
finish its own.
"""

from __future__ import annotations

import time
from typing import Any

from waitress import wasyncore
from waitress.task import WSGITask

QUIET_S = 0.25
"""A connection on which nothing has come for so long has no request on its way."""
LIMIT_S = 4.0
"""The longest time to finish; the supervisor waits a little longer before it kills."""
_TURN_S = 1.0


class DrainingTask(WSGITask):  # type: ignore[misc]
    """Ends connections with the response while the server drains, so that clients come back to the next one."""

    def build_response_header(self) -> bytes:
        if not self.channel.server.accepting:
            self.request.headers["CONNECTION"] = "close"
        header: bytes = super().build_response_header()
        return header


class DrainingLoop:
    """The network loop of a waitress server.

    Args:
        server: from ``waitress.create_server``; its channels must use `DrainingTask`.
    """

    def __init__(self, server: Any) -> None:
        self._server = server
        self._ending = False

    def run(self) -> None:
        """Serve until `end`, finish what has come in, at most for `LIMIT_S`, and return."""
        while not self._ending:
            self._turn(_TURN_S)
        deadline_s = time.monotonic() + LIMIT_S
        while self._unfinished() and time.monotonic() < deadline_s:
            self._turn(0.02)
        self._server.task_dispatcher.shutdown()

    def end(self) -> None:
        """Make `run` end. Takes no lock, so a signal handler may call it."""
        self._ending = True
        # Here, not in `run`: a response that is written before the loop wakes must end its connection too.
        self._server.accepting = False
        self._server.trigger._physical_pull()

    def _turn(self, timeout_s: float) -> None:
        wasyncore.loop(timeout=timeout_s, use_poll=True, map=self._server._map, count=1)

    def _unfinished(self) -> bool:
        quiet_since = time.time() - QUIET_S  # waitress dates activity by the wall clock
        return any(
            channel.requests
            or channel.request
            or channel.total_outbufs_len
            or channel.close_when_flushed  # answered, but its client waits for the end of the connection
            or channel.will_close
            or channel.last_activity > quiet_since
            for channel in list(self._server.active_channels.values())
        )
