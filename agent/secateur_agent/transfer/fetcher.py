"""Fetches the blobs of one bundle: listens to the broadcast first, then asks for what is missing.

The host publishes each chunk once for all devices. After ``quiet_s`` without a chunk, this device asks for the lowest
missing ones, at most ``window`` at a time, and for more as they arrive. The timer follows the measured time between chunks,
so that a slow link is not asked twice, and doubles with each question that brings nothing.

No threads and no clock here: the caller passes the monotonic time.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable

from secateur_agent.protocol.messages import AskChunks, BlobRef
from secateur_agent.protocol.topics import ROOT
from secateur_agent.store import Store
from secateur_agent.transfer.download import DamagedPartError, Download, refuse_if_too_large

FIRST_WAIT_S = 6.0
"""Before the first chunk: the host may wait 5 s for other devices before it broadcasts."""
MIN_QUIET_S = 1.0
MAX_QUIET_S = 60.0
CHUNKS_OF_QUIET = 4.0
"""So many times the usual time between two chunks without a chunk is quiet."""
_MAX_INDEXES = 64
_SMOOTHING = 0.3

_log = logging.getLogger(__name__)


class Fetcher:
    """Several downloads with one window. Attribute: ``window`` (chunks asked for and not yet here)."""

    def __init__(self, refs: Iterable[BlobRef], store: Store, window: int = 6, at_once: bool = False) -> None:
        """Begin, or continue after a restart; blobs that are complete on disk are finished.

        Args:
            refs: what to fetch, most urgent first; a digest that comes twice is fetched once.
            store: where it goes.
            window: how many chunks may be asked for and not yet received, 1 to 64.
            at_once: ask without waiting for a broadcast.

        Raises:
            StoreError: if there is no room or the store cannot be read or written.
            secateur_agent.protocol.messages.MessageError: if a chunk list does not fit its size.
        """
        self.window = max(1, min(window, _MAX_INDEXES))
        self._store = store
        self._downloads: dict[str, Download] = {}
        for ref in refs:
            if ref.sha256 not in self._downloads:
                self._downloads[ref.sha256] = Download(ref, store)
        refuse_if_too_large(self._downloads.values(), store)
        self._asked: set[tuple[str, int]] = set()
        self._at_once = self._repairing = at_once
        self._fruitless = 0
        self._chunk_s: float | None = None
        self._last_s: float | None = None
        self._since_s: float | None = None
        self._finish_complete()

    @property
    def done(self) -> bool:
        """Whether every blob is in the store."""
        return all(self._store.has(sha256) for sha256 in self._downloads)

    @property
    def have_chunks(self) -> int:
        """How many chunks are here, of all blobs."""
        return sum(download.have for download in self._downloads.values())

    @property
    def total_chunks(self) -> int:
        """How many chunks all blobs have."""
        return sum(download.total for download in self._downloads.values())

    @property
    def quiet_s(self) -> float:
        """How long no chunk has to come before the missing ones are asked for (again)."""
        if self._chunk_s is None:
            base = FIRST_WAIT_S
        else:
            base = max(MIN_QUIET_S, CHUNKS_OF_QUIET * self._chunk_s)
        return min(MAX_QUIET_S, base * 2.0 ** min(self._fruitless, 10))

    def topics(self) -> list[str]:
        """Return the topic filters of the broadcasts of all blobs that are not complete."""
        return [f"{ROOT}/b/{sha256}/+" for sha256, download in self._downloads.items() if not download.complete]

    def on_chunk(self, sha256: str, index: int, data: bytes, now_s: float) -> bool:
        """Take a chunk, from the broadcast or an answer; the blob's last chunk puts it into the store.

        Args:
            sha256: digest of the blob.
            index: place of the chunk.
            data: its content.
            now_s: monotonic time.

        Returns:
            True if it was new; False if it was here already or belongs to no blob of this fetcher.

        Raises:
            ChunkError: if it is not the chunk that was signed.
            StoreError: if it cannot be written.
        """
        download = self._downloads.get(sha256)
        if download is None:
            return False
        new = download.offer(index, data)
        if new:
            self._measure(now_s)
            self._since_s = now_s
            self._fruitless = 0
            # A chunk that nobody here asked for: the broadcast is running again, so listen.
            self._repairing = self._repairing and (sha256, index) in self._asked
        self._last_s = now_s
        self._asked.discard((sha256, index))
        if new and download.complete:
            self._finish_complete()
        return new

    def next_asks(self, now_s: float) -> list[AskChunks]:
        """Return what to ask the host for now, perhaps nothing. Call it after each chunk and on each tick.

        Args:
            now_s: monotonic time.

        Raises:
            StoreError: if a blob whose chunks are all here still cannot be moved to its place.
        """
        self._finish_complete()
        if self._last_s is None:
            self._last_s = now_s
        if now_s - self._last_s >= self.quiet_s:
            # What was asked for and did not come is lost.
            self._fruitless += 1 if self._asked else 0
            self._asked.clear()
            self._repairing = True
        # Refilled by halves: one message for several chunks.
        if not self._repairing or len(self._asked) > self.window // 2:
            return []
        asks = self._fill(self.window - len(self._asked))
        if asks and not self._asked:
            self._last_s = self._since_s = now_s
        self._asked.update((ask.sha256, index) for ask in asks for index in ask.indexes)
        return asks

    def rewind(self, now_s: float) -> None:
        """After a reconnect: forget questions that may have been lost, and wait the usual time again.

        Args:
            now_s: monotonic time.
        """
        self._asked.clear()
        self._repairing = self._at_once
        self._fruitless = 0
        self._last_s = now_s
        self._since_s = None

    def _fill(self, room: int) -> list[AskChunks]:
        asks: list[AskChunks] = []
        for sha256, download in self._downloads.items():
            if room <= 0:
                break
            candidates = download.missing(room + len(self._asked))
            indexes = [index for index in candidates if (sha256, index) not in self._asked][:room]
            if indexes:
                asks.append(AskChunks(sha256=sha256, indexes=tuple(indexes)))
                room -= len(indexes)
        return asks

    def _measure(self, now_s: float) -> None:
        """Follow the time between two chunks; the wait for a broadcast to begin is not one."""
        if self._since_s is None:
            return
        elapsed_s = min(max(0.0, now_s - self._since_s), MAX_QUIET_S / CHUNKS_OF_QUIET)
        if self._chunk_s is None:
            self._chunk_s = elapsed_s
        else:
            self._chunk_s += _SMOOTHING * (elapsed_s - self._chunk_s)

    def _finish_complete(self) -> None:
        for sha256, download in self._downloads.items():
            if download.complete and not self._store.has(sha256):
                try:
                    download.finish()
                except DamagedPartError as error:
                    _log.warning("%s", error)
