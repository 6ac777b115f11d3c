"""Runs a waitress server until it is told to end, and then answers whatever is on its way.

waitress itself drops requests that wait for a thread, or lie unread in a connection, when it ends. A restart of the agent
must cost no request: the listening socket stays open, so the next worker takes new connections, and this one has only to
finish its own. Either it closes them with their answers (`DrainingLoop.end`), or it leaves them open for a successor
(`DrainingLoop.hand_over`): then what clients send meanwhile waits, unread, in the connection.
"""

from __future__ import annotations

import socket
import time
from typing import Any, Literal

from waitress import wasyncore
from waitress.channel import HTTPChannel
from waitress.task import WSGITask

QUIET_S = 0.25
"""A connection on which nothing has come for so long has no request on its way."""
LIMIT_S = 4.0
"""The longest time to finish; the supervisor waits a little longer before it kills."""
_TURN_S = 1.0


class DrainingTask(WSGITask):  # type: ignore[misc]
    """Ends connections with the response while the server drains, so that clients come back to the next one."""

    def build_response_header(self) -> bytes:
        if self.channel.server.closing:
            self.request.headers["CONNECTION"] = "close"
        header: bytes = super().build_response_header()
        return header


class DrainingChannel(HTTPChannel):  # type: ignore[misc]
    """A connection that reads no further request while the server hands its connections over."""

    task_class = DrainingTask

    def readable(self) -> bool:
        if self.server.handing_over and self.request is None:
            return False
        return bool(super().readable())


class DrainingLoop:
    """The network loop of a waitress server.

    Args:
        server: from ``waitress.create_server``; its channels must be `DrainingChannel`.
    """

    def __init__(self, server: Any) -> None:
        self._server = server
        self._asked: Literal["", "end", "hand over"] = ""
        server.closing = server.handing_over = False

    def run(self) -> list[socket.socket] | None:
        """Serve until `end` or `hand_over`, finish what has come in, at most for `LIMIT_S`, and return.

        Returns:
            After `hand_over` the connections that are still open, between two requests; None after `end`.
        """
        while not self._asked:
            self._turn(_TURN_S)
        deadline_s = time.monotonic() + LIMIT_S
        while self._unfinished() and time.monotonic() < deadline_s:
            self._turn(0.02)
        self._server.task_dispatcher.shutdown()
        if self._asked == "end":
            return None
        channels = list(self._server.active_channels.values())
        return [channel.socket for channel in channels if channel.connected and not self._busy(channel)]

    def end(self) -> None:
        """Make `run` end and close its connections. Takes no lock, so a signal handler may call it."""
        self._asked = "end"
        # Here, not in `run`: a response that is written before the loop wakes must end its connection too.
        self._server.closing = True
        self._server.accepting = self._server.handing_over = False
        self._server.trigger._physical_pull()

    def hand_over(self) -> None:
        """Make `run` end and return its connections; what was asked first holds, unless that is `end`."""
        if self._asked == "end":
            return
        self._asked = "hand over"
        self._server.handing_over = True
        self._server.accepting = False
        self._server.trigger._physical_pull()

    def _turn(self, timeout_s: float) -> None:
        wasyncore.loop(timeout=timeout_s, use_poll=True, map=self._server._map, count=1)

    def _unfinished(self) -> bool:
        # What comes on a connection that is handed over is the successor's; one that is to be closed must be quiet first.
        quiet_since = time.time() - QUIET_S  # waitress dates activity by the wall clock
        closing = self._asked == "end"
        return any(
            self._busy(channel) or (closing and channel.last_activity > quiet_since)
            for channel in list(self._server.active_channels.values())
        )

    @staticmethod
    def _busy(channel: Any) -> bool:
        return bool(
            channel.requests
            or channel.request
            or channel.total_outbufs_len
            or channel.close_when_flushed  # answered, but its client waits for the end of the connection
            or channel.will_close
        )
