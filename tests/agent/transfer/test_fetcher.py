from __future__ import annotations

import base64
import hashlib
import itertools
import os
from collections import deque
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secateur_agent.protocol.messages import AskChunks, BlobRef
from secateur_agent.store import Store
from secateur_agent.transfer import ChunkError, Fetcher
from secateur_agent.transfer.fetcher import FIRST_WAIT_S, MAX_QUIET_S

CHUNK_BYTES = 1024


def make_ref(data: bytes) -> BlobRef:
    """What a host signs for ``data``."""
    pieces = [data[start : start + CHUNK_BYTES] for start in range(0, len(data), CHUNK_BYTES)] or [b""]
    listed = base64.b64encode(b"".join(hashlib.sha256(piece).digest() for piece in pieces)).decode()
    sha256 = hashlib.sha256(data).hexdigest()
    return BlobRef(sha256=sha256, size=len(data), chunk_bytes=CHUNK_BYTES, chunks=listed if len(pieces) > 1 else "")


def chunk(data: bytes, index: int) -> bytes:
    return data[index * CHUNK_BYTES :][:CHUNK_BYTES]


BIG = os.urandom(40 * CHUNK_BYTES)
SMALL = b"recipe"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


class SlowLink:
    """A host behind a link that carries one chunk each ``chunk_s`` and loses every ``loss``-th."""

    def __init__(self, blobs: dict[str, bytes], chunk_s: float, loss: int = 0) -> None:
        self.blobs = blobs
        self.chunk_s = chunk_s
        self.loss = loss
        self.sent = 0
        self.queue: deque[tuple[float, str, int]] = deque()

    def ask(self, asks: list[AskChunks], now_s: float) -> None:
        for ask in asks:
            for index in ask.indexes:
                begin_s = max(now_s, self.queue[-1][0] if self.queue else 0.0)
                self.queue.append((begin_s + self.chunk_s, ask.sha256, index))

    def run(self, fetcher: Fetcher, limit_s: float) -> float:
        """Tick each 0.5 s until everything is there; return the time that took."""
        now_s = 0.0
        while not fetcher.done:
            assert now_s < limit_s, f"{fetcher.have_chunks} of {fetcher.total_chunks} chunks after {now_s} s"
            now_s += 0.5
            while self.queue and self.queue[0][0] <= now_s:
                _, sha256, index = self.queue.popleft()
                self.sent += 1
                if not self.loss or self.sent % self.loss:
                    fetcher.on_chunk(sha256, index, chunk(self.blobs[sha256], index), now_s)
                    self.ask(fetcher.next_asks(now_s), now_s)
            self.ask(fetcher.next_asks(now_s), now_s)
        return now_s


def test_broadcast_alone_needs_no_question(store: Store) -> None:
    refs = [make_ref(SMALL), make_ref(BIG)]
    fetcher = Fetcher(refs, store)
    assert fetcher.topics() == [f"secateur/v1/b/{ref.sha256}/+" for ref in refs]
    assert fetcher.total_chunks == 41
    now_s = 1000.0
    assert fetcher.next_asks(now_s) == []
    assert fetcher.next_asks(now_s + 5.5) == []
    assert fetcher.on_chunk(refs[0].sha256, 0, SMALL, now_s + 5.5)
    assert fetcher.topics() == [f"secateur/v1/b/{refs[1].sha256}/+"]
    for index in range(40):
        now_s += 0.3
        assert fetcher.on_chunk(refs[1].sha256, index, chunk(BIG, index), now_s)
        assert fetcher.next_asks(now_s) == []
    assert fetcher.done
    assert fetcher.topics() == []
    assert fetcher.have_chunks == 41
    assert fetcher.next_asks(now_s + 1000) == []
    assert store.read(refs[1].sha256) == BIG


def test_what_the_broadcast_lost_is_asked_for_after_it_is_quiet(store: Store) -> None:
    ref = make_ref(BIG)
    fetcher = Fetcher([ref], store)
    fetcher.next_asks(0.0)
    now_s = 0.0
    for index in set(range(40)) - {7, 21}:
        now_s += 0.5
        fetcher.on_chunk(ref.sha256, index, chunk(BIG, index), now_s)
    assert fetcher.next_asks(now_s + 1.0) == []
    assert fetcher.next_asks(now_s + 3.0) == [AskChunks(sha256=ref.sha256, indexes=(7, 21))]
    assert fetcher.next_asks(now_s + 3.5) == []
    for index in (7, 21):
        fetcher.on_chunk(ref.sha256, index, chunk(BIG, index), now_s + 4.0)
    assert fetcher.done


def test_window_bounds_what_is_asked_for_and_refills(store: Store) -> None:
    refs = [make_ref(SMALL), make_ref(BIG)]
    fetcher = Fetcher(refs, store, window=6)
    fetcher.next_asks(0.0)
    first = fetcher.next_asks(FIRST_WAIT_S)
    assert first == [
        AskChunks(sha256=refs[0].sha256, indexes=(0,)),
        AskChunks(sha256=refs[1].sha256, indexes=(0, 1, 2, 3, 4)),
    ]
    now_s = FIRST_WAIT_S + 0.1
    fetcher.on_chunk(refs[0].sha256, 0, SMALL, now_s)
    fetcher.on_chunk(refs[1].sha256, 0, chunk(BIG, 0), now_s)
    assert fetcher.next_asks(now_s) == []
    fetcher.on_chunk(refs[1].sha256, 1, chunk(BIG, 1), now_s)
    assert fetcher.next_asks(now_s) == [AskChunks(sha256=refs[1].sha256, indexes=(5, 6, 7))]


def test_unanswered_questions_become_rarer(store: Store) -> None:
    fetcher = Fetcher([make_ref(BIG)], store)
    asked_s = [tick * 0.5 for tick in range(1200) if fetcher.next_asks(tick * 0.5)]
    waits = [later - earlier for earlier, later in itertools.pairwise(asked_s)]
    assert asked_s[0] == FIRST_WAIT_S
    assert waits[:5] == [6.0, 12.0, 24.0, 48.0, MAX_QUIET_S]
    assert set(waits[4:]) == {MAX_QUIET_S}


def test_slow_link_is_not_flooded(store: Store) -> None:
    """64 KiB at 250 kbit/s is 2.1 s a chunk: chunked updates failed on such links elsewhere (thingsboard#15637)."""
    ref = make_ref(BIG)
    link = SlowLink({ref.sha256: BIG}, chunk_s=2.1)
    took_s = link.run(Fetcher([ref], store), limit_s=200.0)
    assert link.sent <= 40 * 1.2
    assert took_s < 40 * 2.1 * 1.4
    assert store.read(ref.sha256) == BIG


def test_lossy_link_still_finishes(store: Store) -> None:
    ref = make_ref(BIG)
    SlowLink({ref.sha256: BIG}, chunk_s=0.4, loss=4).run(Fetcher([ref], store), limit_s=400.0)
    assert store.read(ref.sha256) == BIG


def test_corrupt_chunk_is_refused_and_asked_for_again(store: Store) -> None:
    ref = make_ref(BIG)
    fetcher = Fetcher([ref], store)
    fetcher.next_asks(0.0)
    fetcher.next_asks(FIRST_WAIT_S)
    with pytest.raises(ChunkError, match="chunk 0 refused"):
        fetcher.on_chunk(ref.sha256, 0, b"\x00" * CHUNK_BYTES, FIRST_WAIT_S)
    assert fetcher.have_chunks == 0
    assert 0 in fetcher.next_asks(FIRST_WAIT_S + MAX_QUIET_S)[0].indexes


def test_chunks_of_other_blobs_are_ignored(store: Store) -> None:
    fetcher = Fetcher([make_ref(SMALL)], store)
    assert not fetcher.on_chunk("0" * 64, 0, b"?", 1.0)


def test_a_digest_that_comes_twice_is_fetched_once(store: Store) -> None:
    fetcher = Fetcher([make_ref(SMALL), make_ref(SMALL)], store)
    assert fetcher.total_chunks == 1
    fetcher.on_chunk(make_ref(SMALL).sha256, 0, SMALL, 1.0)
    assert fetcher.done


def test_restart_continues_and_finishes_what_was_complete(store: Store) -> None:
    ref, empty = make_ref(BIG), make_ref(b"")
    first = Fetcher([ref, empty], store)
    for index in range(30):
        first.on_chunk(ref.sha256, index, chunk(BIG, index), 1.0)
    second = Fetcher([ref, empty], store)
    assert store.has(empty.sha256)
    assert second.have_chunks == 31
    second.next_asks(0.0)
    assert second.next_asks(FIRST_WAIT_S)[0].indexes == (30, 31, 32, 33, 34, 35)


def test_killed_between_the_last_chunk_and_the_rename(store: Store) -> None:
    ref = make_ref(BIG)
    store.keep_ref(ref)
    store.part_path(ref.sha256).write_bytes(BIG)
    fetcher = Fetcher([ref], store)
    assert fetcher.done
    assert store.read(ref.sha256) == BIG


def test_reconnect_forgets_lost_questions(store: Store) -> None:
    fetcher = Fetcher([make_ref(BIG)], store)
    asked = [tick for tick in range(300) if fetcher.next_asks(float(tick))]
    assert len(asked) > 3
    fetcher.rewind(300.0)
    assert fetcher.next_asks(300.0 + FIRST_WAIT_S - 1) == []
    assert fetcher.next_asks(300.0 + FIRST_WAIT_S) != []


def test_what_nobody_broadcasts_is_asked_for_at_once_also_after_a_reconnect(store: Store) -> None:
    fetcher = Fetcher([make_ref(BIG)], store, at_once=True)
    assert fetcher.next_asks(0.0)[0].indexes == (0, 1, 2, 3, 4, 5)
    assert fetcher.next_asks(1.0) == []
    fetcher.rewind(2.0)
    assert fetcher.next_asks(2.0)[0].indexes == (0, 1, 2, 3, 4, 5)


@settings(max_examples=50, deadline=None)
@given(
    sizes=st.lists(st.integers(0, 4 * CHUNK_BYTES), min_size=1, max_size=3),
    broadcast=st.lists(st.tuples(st.integers(0, 2), st.integers(0, 5), st.floats(0, 30)), max_size=20),
    loss=st.integers(2, 9),
    window=st.integers(1, 8),
)
def test_every_download_ends(
    tmp_path_factory: pytest.TempPathFactory,
    sizes: list[int],
    broadcast: list[tuple[int, int, float]],
    loss: int,
    window: int,
) -> None:
    """Whatever part of the broadcast came, and though answers are lost, the exact files are there in bounded time."""
    store = Store(tmp_path_factory.mktemp("store"))
    blobs = {make_ref(data).sha256: data for data in (os.urandom(size) for size in sizes)}
    fetcher = Fetcher([make_ref(data) for data in blobs.values()], store, window)
    now_s = 0.0
    for which, index, pause_s in broadcast:
        now_s += pause_s
        sha256, data = list(blobs.items())[which % len(blobs)]
        if index < make_ref(data).chunk_count:
            fetcher.on_chunk(sha256, index, chunk(data, index), now_s)
    link = SlowLink(blobs, chunk_s=0.2, loss=loss)
    link.run(fetcher, limit_s=now_s + 3000.0)
    assert all(store.read(sha256) == data for sha256, data in blobs.items())
