"""One blob on its way into the store.

The file on disk is the journal: chunks are written to their places in ``<sha256>.part``, and on opening, every chunk is
hashed again; what matches the signed chunk list is there, whatever happened to the device in between. So a chunk needs
no fsync of its own, which spares the SD card; the whole file is synced once, before it becomes a blob.
"""

from __future__ import annotations

import errno
import hashlib
import heapq
import os
import shutil
from collections.abc import Iterable

from secateur_agent.protocol.messages import BlobRef
from secateur_agent.store import Store, StoreError
from secateur_agent.store.blobs import file_digest
from secateur_agent.store.files import disk_error


class ChunkError(ValueError):
    """A chunk that came over the network does not belong to the blob; nothing was written."""


class DamagedPartError(StoreError):
    """Chunks were damaged on disk after they had been verified; they are missing again and can be fetched again."""


class Download:
    """The chunks of one blob. Attributes: ``ref``, ``total`` (chunks). Two downloads of one digest share their file."""

    def __init__(self, ref: BlobRef, store: Store) -> None:
        """Begin a download, or continue one: chunks on disk are verified again.

        Args:
            ref: the blob and its chunk list, from a signed message.
            store: where it goes.

        Raises:
            StoreError: if there is no room for the blob or the store cannot be read or written.
            secateur_agent.protocol.messages.MessageError: if the chunk list does not fit the size.
        """
        self.ref = ref
        self._store = store
        self._digests = ref.chunk_digests()
        self.total = len(self._digests)
        self._part = store.part_path(ref.sha256)
        self._missing: set[int] = set()
        if store.has(ref.sha256):
            store.drop_part(ref.sha256)
            return
        self._missing = set(range(self.total))
        refuse_if_too_large([self], store)
        store.keep_ref(ref)
        self._reverify()

    @property
    def have(self) -> int:
        """How many chunks are here."""
        return self.total - (0 if self.complete else len(self._missing))

    @property
    def complete(self) -> bool:
        """Whether every chunk is here; `finish` then makes it a blob."""
        return not self._missing or self._store.has(self.ref.sha256)

    def missing(self, limit: int) -> list[int]:
        """Return the lowest indexes of chunks that are not here, at most ``limit``."""
        return [] if self.complete else heapq.nsmallest(limit, self._missing)

    def bytes_to_write(self) -> int:
        """Return how many bytes of disk the blob still needs."""
        if self.complete:
            return 0
        # Chunks are written to their places, so the file has holes: blocks count, not its length.
        here = self._part.stat().st_blocks * 512 if self._part.exists() else 0
        return max(0, self.ref.size - here)

    def offer(self, index: int, data: bytes) -> bool:
        """Take a chunk from the network.

        Args:
            index: its place in the blob, from 0.
            data: its content.

        Returns:
            True if it is new and now stored, False if it was here already.

        Raises:
            ChunkError: if there is no such chunk, or its digest is not the one that was signed.
            StoreError: if it cannot be written; it can be offered again.
        """
        what = f"blob {self.ref.sha256[:12]}: chunk {index}"
        if not 0 <= index < self.total:
            raise ChunkError(f"{what} refused: the blob has chunks 0 to {self.total - 1}")
        if index not in self._missing or self._store.has(self.ref.sha256):
            return False
        if hashlib.sha256(data).digest() != self._digests[index] or len(data) != self._length(index):
            raise ChunkError(f"{what} refused: its {len(data)} bytes are not the ones in the signed chunk list")
        self._write(index * self.ref.chunk_bytes, data)
        self._missing.discard(index)
        return True

    def finish(self) -> None:
        """Verify the whole blob, sync it to disk and move it to its place in the store. May be repeated.

        Raises:
            DamagedPartError: if the disk lost chunks meanwhile; they are missing again.
            StoreError: if chunks are missing, the chunk list is not that of the digest, or the store cannot be written.
        """
        what = f"blob {self.ref.sha256[:12]}"
        if self._store.has(self.ref.sha256):
            self._missing.clear()
            return
        if self._missing:
            raise StoreError(f"{what}: {len(self._missing)} of {self.total} chunks are missing; it cannot be finished")
        try:
            descriptor = os.open(self._part, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            with open(descriptor, "r+b") as file:
                file.truncate(self.ref.size)
                found = file_digest(file)
                if found == self.ref.sha256:
                    os.fsync(file.fileno())
        except OSError as error:
            raise disk_error("write", self._part, error) from None
        if found == self.ref.sha256:
            self._store.adopt_part(self.ref.sha256)
            return
        self._missing = set(range(self.total))
        self._reverify()
        if self._missing:
            raise DamagedPartError(f"{what}: {len(self._missing)} chunks were damaged on disk; they are fetched again")
        self._missing = set(range(self.total))
        self._store.drop_part(self.ref.sha256)
        raise StoreError(f"{what}: its chunk list is that of another file (digest {found[:12]}); push it again")

    def _length(self, index: int) -> int:
        return max(0, min(self.ref.chunk_bytes, self.ref.size - index * self.ref.chunk_bytes))

    def _write(self, offset: int, data: bytes) -> None:
        view = memoryview(data)
        try:
            descriptor = os.open(self._part, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
            try:
                while view:
                    written = os.pwrite(descriptor, view, offset)
                    view, offset = view[written:], offset + written
            finally:
                os.close(descriptor)
        except OSError as error:
            raise disk_error("write", self._part, error) from None

    def _reverify(self) -> None:
        """Take from ``_missing`` what is on disk and has the signed digest."""
        try:
            with self._part.open("rb") as file:
                for index, digest in enumerate(self._digests):
                    file.seek(index * self.ref.chunk_bytes)
                    if hashlib.sha256(file.read(self._length(index))).digest() == digest:
                        self._missing.discard(index)
        except FileNotFoundError:
            if self.ref.size == 0 and hashlib.sha256().digest() == self._digests[0]:
                self._missing.clear()
        except OSError as error:
            raise disk_error("read", self._part, error) from None


def refuse_if_too_large(downloads: Iterable[Download], store: Store) -> None:
    """Check that what is still to be written fits on the disk.

    Raises:
        StoreError: if it does not.
    """
    try:
        needed_bytes = sum(download.bytes_to_write() for download in downloads)
        free_bytes = shutil.disk_usage(store.root).free
    except OSError as error:
        raise disk_error("read", store.root, error) from None
    if needed_bytes > free_bytes:
        full = OSError(errno.ENOSPC, f"the download needs {needed_bytes:,} bytes more and {free_bytes:,} are free")
        raise disk_error("store it in", store.root, full)
