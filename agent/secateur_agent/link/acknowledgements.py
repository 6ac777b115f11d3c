"""Acknowledges QoS 1 messages of one connection in the order in which they came, as MQTT v5 section 4.6 requires.

Brokers end the connection of a client that does otherwise, and packet ids of an earlier connection mean other messages.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from functools import partial


class Acknowledgements:
    """Open acknowledgements of one connection."""

    def __init__(self, send: Callable[[int, int], object]) -> None:
        """Begin with none.

        Args:
            send: sends the acknowledgement of a packet id at a QoS; must not block.
        """
        self._send = send
        self._lock = threading.Lock()
        self._open: deque[int] = deque()
        self._handled: set[int] = set()
        self._closed = False

    def expect(self, packet_id: int) -> Callable[[], None]:
        """Note a message that came, and return what acknowledges it (more than once is harmless)."""
        with self._lock:
            self._open.append(packet_id)
        return partial(self._acknowledge, packet_id, [False])

    def close(self) -> None:
        """The connection ended: what is still open will be sent again by the broker."""
        with self._lock:
            self._closed = True
            self._open.clear()
            self._handled.clear()

    def _acknowledge(self, packet_id: int, done: list[bool]) -> None:
        with self._lock:
            if self._closed or done[0]:
                return
            done[0] = True
            self._handled.add(packet_id)
            while self._open and self._open[0] in self._handled:
                first = self._open.popleft()
                self._handled.discard(first)
                self._send(first, 1)
