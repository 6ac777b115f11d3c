"""Caps a rate of bytes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable


class ByteRate:
    """A token bucket: lets ``bytes_per_s`` through on average, and at most a quarter second's worth (64 KiB) at once."""

    def __init__(self, bytes_per_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        """
        Args:
            bytes_per_s: the cap; 0 for none.
            clock: seconds, monotonic.
        """
        self._rate = bytes_per_s
        self._clock = clock
        self._burst = max(bytes_per_s / 4, 65536.0)
        self._tokens = self._burst
        self._at_s = clock()

    def reserve(self, count: int) -> float:
        """Take ``count`` bytes and return the seconds to wait before they may be sent."""
        if self._rate <= 0:
            return 0.0
        now_s = self._clock()
        self._tokens = min(self._burst, self._tokens + (now_s - self._at_s) * self._rate) - count
        self._at_s = now_s
        return max(0.0, -self._tokens / self._rate)

    async def take(self, count: int) -> None:
        """Wait until ``count`` bytes may be sent."""
        wait_s = self.reserve(count)
        if wait_s > 0:
            await asyncio.sleep(wait_s)
