"""Times of files of packs, kept across restarts until another measurement begins."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from secateur_agent.profiling.pack import PackHeader
from secateur_agent.protocol.timings import FileTiming
from secateur_agent.store import write_atomic

MOST_FILES = 4096
_MOST_BYTES = 4 << 20


class _Kept(msgspec.Struct, frozen=True, kw_only=True):
    """``timings`` and ``begun`` by digest of the file."""

    key: str = ""
    timings: Annotated[dict[str, FileTiming], Meta(max_length=MOST_FILES)] = {}
    begun: Annotated[dict[str, int], Meta(max_length=MOST_FILES)] = {}


class KeptTimings:
    """What was timed so far in one measurement, in one small file.

    Args:
        path: the file. One that cannot be read is started anew: files can be timed again.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._kept = _Kept()
        with contextlib.suppress(OSError, msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            if path.stat().st_size <= _MOST_BYTES:
                self._kept = msgspec.json.decode(path.read_bytes(), type=_Kept)

    def begin(self, header: PackHeader, runtime_version: str) -> None:
        """Go on with a measurement; what was kept of another, or of another version of the runtime, is forgotten."""
        how = (header.precision, header.threads, header.rounds, header.round_ms)
        key = " ".join(map(str, (header.measurement, header.runtime, runtime_version, *how)))
        if key != self._kept.key or len(self._kept.timings) + len(header.files) > MOST_FILES:
            self._kept = _Kept(key=key)

    def of(self, sha256: str) -> FileTiming | None:
        """Return the times of a file, None if it was not timed."""
        return self._kept.timings.get(sha256)

    def begun(self, sha256: str) -> int:
        """Return how often it was begun to time a file that has no times yet."""
        return self._kept.begun.get(sha256, 0)

    def note_begun(self, files: list[str]) -> None:
        """Note on disk that these files are about to be timed: one that ends the device must not do so for ever.

        Raises:
            secateur_agent.store.files.StoreError: if it cannot be written.
        """
        begun = self._kept.begun | {each: self._kept.begun.get(each, 0) + 1 for each in files}
        self._save(msgspec.structs.replace(self._kept, begun=begun))

    def put(self, timings: dict[str, FileTiming]) -> None:
        """Keep times by digest.

        Raises:
            secateur_agent.store.files.StoreError: if they cannot be written.
        """
        left = {each: times for each, times in self._kept.begun.items() if each not in timings}
        self._save(msgspec.structs.replace(self._kept, timings={**self._kept.timings, **timings}, begun=left))

    def _save(self, kept: _Kept) -> None:
        write_atomic(self._path, msgspec.json.encode(kept))
        self._kept = kept
