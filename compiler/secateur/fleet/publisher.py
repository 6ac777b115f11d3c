"""Publishes the chunks of blobs: each blob of a push once for all its devices, then whatever single devices miss."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from secateur.fleet.blobs import BlobError, read_chunk
from secateur.fleet.rate import ByteRate
from secateur.fleet.session import Session
from secateur.fleet.traffic import Traffic
from secateur_agent.protocol import topics
from secateur_agent.protocol.messages import AskChunks, BlobRef, Desired, Reported

log = logging.getLogger("secateur.fleet")

GATHER_S = 5.0
_MAX_REPAIRS_QUEUED = 256
_BEYOND_FETCHING = ("verifying", "staged", "trial", "rolled-back")


class Target(NamedTuple):
    """One device of a push: the version of its desired shadow, and the manifest that this names."""

    version: int
    manifest_sha256: str


@dataclass
class Broadcast:
    """Blobs to be published once for all ``targets``; ``wanted_by`` says which of them each blob is for."""

    began_s: float
    targets: dict[str, Target] = field(default_factory=dict)
    refs: dict[tuple[str, int], BlobRef] = field(default_factory=dict)
    wanted_by: dict[tuple[str, int], set[str]] = field(default_factory=dict)
    fetching: set[str] = field(default_factory=set)
    past: set[str] = field(default_factory=set)

    def add(self, targets: dict[str, Target], refs: Iterable[BlobRef]) -> None:
        """Add devices and what they need."""
        self.targets |= targets
        self.fetching -= targets.keys()
        self.past -= targets.keys()
        for ref in refs:
            key = (ref.sha256, ref.chunk_bytes)
            self.refs[key] = ref
            self.wanted_by.setdefault(key, set()).update(targets)

    def heard(self, device: str, reported: Reported) -> None:
        """Take note of what a device reported."""
        target = self.targets.get(device)
        if target is None or reported.version < target.version:
            return
        has_it = reported.install == "committed" and reported.manifest_sha256 == target.manifest_sha256
        if reported.install == "fetching":
            self.fetching.add(device)
            self.past.discard(device)
        elif has_it or reported.install in _BEYOND_FETCHING:
            self.past.add(device)
            self.fetching.discard(device)

    def ready(self, now_s: float, gather_s: float, present: Callable[[str], bool]) -> bool:
        """Whether to publish: all targets fetch; or the time to gather is over and one of them is there to hear it."""
        if self.fetching and self.fetching | self.past >= self.targets.keys():
            return True
        if now_s - self.began_s < gather_s:
            return False
        return bool(self.fetching) or any(present(device) for device in self.targets.keys() - self.past)

    @property
    def over(self) -> bool:
        """Whether no target needs it any more."""
        return self.past >= self.targets.keys()


class Publisher:
    """Broadcasts and repairs, under one cap of bytes per second."""

    def __init__(
        self,
        session: Session,
        traffic: Traffic,
        *,
        blob_path: Callable[[str], Path | None],
        desired: Callable[[str], Desired | None],
        present: Callable[[str], bool],
        on_fault: Callable[[str, str], None],
        packs: Callable[[str], Sequence[BlobRef]] = lambda device: (),
        bytes_per_s: float = 0.0,
        gather_s: float = GATHER_S,
    ) -> None:
        """
        Args:
            session: the connection to the broker.
            traffic: where bytes are counted.
            blob_path: digest → the file, or None.
            desired: device → its desired shadow: it may ask for the blobs that this names and no others.
            present: whether a device is connected.
            on_fault: called with a device ('' for all) and one line.
            packs: device → the packs of its open commands, for which it may ask, too.
            bytes_per_s: cap on broadcasts and repairs together; 0 for none.
            gather_s: how long to wait for all targets of a push to report that they fetch.
        """
        self._session = session
        self._traffic = traffic
        self._blob_path = blob_path
        self._desired = desired
        self._packs = packs
        self._present = present
        self._on_fault = on_fault
        self._rate = ByteRate(bytes_per_s)
        self._gather_s = gather_s
        self._broadcasts: list[Broadcast] = []
        self._repairs: deque[tuple[str, BlobRef, int]] = deque()
        self._queued: set[tuple[str, str, int]] = set()
        self._work = asyncio.Event()
        self.broadcast_bytes = 0
        self.repair_bytes = 0

    def announce(self, targets: dict[str, Target], refs: Sequence[BlobRef]) -> None:
        """Plan to publish ``refs`` once for ``targets``. What a planned broadcast already has is not planned twice."""
        wanted = {(ref.sha256, ref.chunk_bytes) for ref in refs}
        if not wanted:
            return
        # Blobs that are about to be published anyway: these devices join.
        planned = next((planned for planned in self._broadcasts if wanted & planned.refs.keys()), None)
        if planned is None:
            planned = Broadcast(time.monotonic())
            self._broadcasts.append(planned)
        planned.add(targets, refs)
        self._work.set()

    def heard(self, device: str, reported: Reported) -> None:
        """Take note of what a device reported; it may be what a broadcast waits for."""
        for planned in self._broadcasts:
            planned.heard(device, reported)
        if self._broadcasts:
            self._work.set()

    def asked(self, device: str, ask: AskChunks) -> str:
        """Queue chunks that a device misses.

        Returns:
            '' or why it gets none.
        """
        ref = _named(ask.sha256, blobs_of(self._desired(device))) or _named(ask.sha256, self._packs(device))
        if ref is None:
            return f"asked for blob {ask.sha256[:12]}, which its desired shadow does not name, nor an open command"
        for index in ask.indexes:
            self.repair(device, ref, index)
        return ""

    def repair(self, device: str, ref: BlobRef, index: int) -> None:
        """Queue one chunk for one device; one that is queued already, or is not there, is left out."""
        key = (device, ref.sha256, index)
        waiting = sum(1 for queued in self._queued if queued[0] == device) if len(self._queued) > 64 else 0
        if key in self._queued or index >= ref.chunk_count or waiting >= _MAX_REPAIRS_QUEUED:
            return
        self._queued.add(key)
        self._repairs.append((device, ref, index))
        self._work.set()

    async def run(self) -> None:
        """Publish; ends only by cancellation."""
        while True:
            try:
                if self._repairs:
                    await self._send_repair()
                    continue
                ready = next((b for b in self._broadcasts if self._is_ready(b)), None)
                if ready is not None:
                    self._broadcasts.remove(ready)
                    await self._send_broadcast(ready)
                    continue
            except Exception:
                log.exception("publisher: unexpected error; going on")
            self._work.clear()
            try:
                await asyncio.wait_for(self._work.wait(), 0.1 if self._broadcasts else 5.0)
            except asyncio.TimeoutError:
                continue

    def _is_ready(self, planned: Broadcast) -> bool:
        if planned.over:
            self._broadcasts = [other for other in self._broadcasts if other is not planned]
            return False
        return self._session.connected and planned.ready(time.monotonic(), self._gather_s, self._present)

    async def _send_repair(self) -> None:
        device, ref, index = self._repairs.popleft()
        self._queued.discard((device, ref.sha256, index))
        data = await self._chunk(device, ref, index)
        if data is not None and await self._session.send_bulk(topics.repair(device, ref.sha256, index), data, qos=0):
            self.repair_bytes += len(data)
            self._traffic.repaired(device, len(data))

    async def _send_broadcast(self, planned: Broadcast) -> None:
        for key, ref in planned.refs.items():
            for index in range(ref.chunk_count):
                while self._repairs:
                    await self._send_repair()
                data = await self._chunk("", ref, index)
                if data is None:
                    break
                if not await self._session.send_bulk(topics.chunk(ref.sha256, index), data, qos=1):
                    return  # the connection is gone; the devices will ask for the rest
                self.broadcast_bytes += len(data)
                for device in planned.wanted_by[key]:
                    self._traffic.broadcast(device, len(data))

    async def _chunk(self, device: str, ref: BlobRef, index: int) -> bytes | None:
        path = await asyncio.to_thread(self._blob_path, ref.sha256)
        try:
            if path is None:
                raise BlobError(f"blob {ref.sha256[:12]}: its file is not known any more; push the bundle again")
            data = await asyncio.to_thread(read_chunk, path, ref, index)
        except BlobError as error:
            self._on_fault(device, str(error))
            return None
        await self._rate.take(len(data))
        return data


def _named(sha256: str, refs: Iterable[BlobRef]) -> BlobRef | None:
    return next((ref for ref in refs if ref.sha256 == sha256), None)


def blobs_of(desired: Desired | None) -> list[BlobRef]:
    """Return every blob that a desired shadow names."""
    if desired is None:
        return []
    model = [desired.model.manifest, *desired.model.files] if desired.model else []
    return model + [recut.recipe for recut in desired.recuts]
