"""The one download that is under way: its topics, its chunks, what to ask for again."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from secateur_agent.protocol.messages import AskChunks, BlobRef
from secateur_agent.store import Store
from secateur_agent.transfer.fetcher import Fetcher


class Downloads:
    """Fetches blobs for one owner at a time.

    Args:
        store: where they go.
        subscribe: called with topic filters that are wanted from now on.
        unsubscribe: called with those that are not any more.
        ask: publishes a request for chunks.
    """

    def __init__(
        self,
        store: Store,
        subscribe: Callable[[list[str]], None],
        unsubscribe: Callable[[list[str]], None],
        ask: Callable[[AskChunks], None],
    ) -> None:
        self._store = store
        self._subscribe = subscribe
        self._unsubscribe = unsubscribe
        self._ask = ask
        self._fetcher: Fetcher | None = None
        self._topics: set[str] = set()
        self.owner = ""

    def begin(self, owner: str, refs: Iterable[BlobRef], at_once: bool = False) -> None:
        """Fetch these blobs, and end what was fetched before; chunks that are on disk count.

        Args:
            owner: for whom.
            refs: what to fetch.
            at_once: ask for the chunks now, for nobody broadcasts them.

        Raises:
            secateur_agent.store.StoreError: if there is no room for them.
            secateur_agent.protocol.messages.MessageError: if a chunk list does not fit its blob.
        """
        self.end()
        unique = {ref.sha256: ref for ref in refs}
        self._fetcher = Fetcher(unique.values(), self._store, at_once=at_once)
        self.owner = owner
        self._sync_topics()

    def end(self, owner: str = "") -> None:
        """Stop fetching (for ``owner``, if given); what came stays on disk."""
        if owner and owner != self.owner:
            return
        self._fetcher = None
        self.owner = ""
        self._sync_topics()

    @property
    def done(self) -> bool:
        """Whether all that was asked for is in the store."""
        return self._fetcher is not None and self._fetcher.done

    @property
    def progress(self) -> tuple[int, int]:
        """Chunks that are here, and chunks in all; (0, 0) if nothing is fetched."""
        return (self._fetcher.have_chunks, self._fetcher.total_chunks) if self._fetcher else (0, 0)

    def on_chunk(self, sha256: str, index: int, data: bytes, now_s: float) -> bool:
        """Take a chunk.

        Returns:
            Whether it was new.

        Raises:
            secateur_agent.transfer.download.ChunkError: if it is not what was promised.
            secateur_agent.store.files.StoreError: if it cannot be written.
        """
        if self._fetcher is None:
            return False
        new = self._fetcher.on_chunk(sha256, index, data, now_s)
        if new and self._store.has(sha256):
            self._sync_topics()
        return new

    def ask_missing(self, now_s: float) -> None:
        """Ask for what is overdue."""
        if self._fetcher is not None:
            for ask in self._fetcher.next_asks(now_s):
                self._ask(ask)

    def rewind(self, now_s: float) -> None:
        """After a reconnect: what was asked for may be lost."""
        if self._fetcher is not None:
            self._fetcher.rewind(now_s)

    def _sync_topics(self) -> None:
        wanted = set(self._fetcher.topics()) if self._fetcher else set()
        if gone := sorted(self._topics - wanted):
            self._unsubscribe(gone)
        if new := sorted(wanted - self._topics):
            self._subscribe(new)
        self._topics = wanted
