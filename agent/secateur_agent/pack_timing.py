"""Times the pack of one command: fetch it, time its files batch by batch, tell after each what is known.

Each batch is a helper process of its own, so that installations come in between, and what a batch found is on disk before
the next begins: whatever ends, the agent goes on with the files that are missing.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import msgspec

from secateur_agent.helper_processes import HelperEnded, Job
from secateur_agent.install.workplace import Workplace
from secateur_agent.kept_timings import KeptTimings
from secateur_agent.profiling.batch_request import BatchRequest, BatchResult
from secateur_agent.profiling.pack import MAX_PACK_BYTES, Pack, PackError
from secateur_agent.protocol.messages import BlobRef, MessageError
from secateur_agent.protocol.timings import Conditions, FileTiming, PackTimings
from secateur_agent.runtime_versions import runtime_version
from secateur_agent.store import StoreError

OWNER = "time"
BATCH, BATCH_BYTES = 24, 32 << 20
"""Files that take turns, and their size; more would only take more memory."""
_MODULE = "secateur_agent.profiling.batch"
_ROUNDS_LIMIT_S = 300.0
_JOB_LIMIT_S = 900.0
_STALLED_S = 1800.0
"""So long no chunk came: the host has forgotten the pack, or sends it again when it is back."""
_TOGETHER, _MOST_BEGUN = 2, 3
"""A file that was begun so often and has no times yet is timed alone; and after so many times not any more."""

End = Callable[[Literal["done", "failed"], str, PackTimings | None], None]


class PackTiming:
    """The pack of one command.

    Args:
        place: store, downloads, helpers and the profile.
        kept: what was timed before.
        ref: the pack, as the signed command names it.
        progress: told what is known so far, after each batch.
        end: told once how it ended.
    """

    def __init__(
        self, place: Workplace, kept: KeptTimings, ref: BlobRef, progress: Callable[[PackTimings], None], end: End
    ) -> None:
        self.ref = ref
        self._place = place
        self._kept = kept
        self._progress = progress
        self._end = end
        self._pack: Pack | None = None
        self._job: Job | None = None
        self._batch: list[int] = []
        self._over = False
        self._had, self._progress_s = -1, 0.0
        self._version = runtime_version(place.profile.runtime.name)  # read from disk, and asked for after every batch
        self._machine = ""
        self._slowed = ""
        self._conditions = Conditions()

    def poll(self) -> None:
        """Go on, if what is waited for is here; call it on each tick and after each chunk."""
        if self._over or self._pack is not None:
            return
        downloads = self._place.downloads
        if self.ref.size > MAX_PACK_BYTES:
            self.fail(f"the pack has {self.ref.size} bytes, more than the limit of {MAX_PACK_BYTES}")
        elif self._place.store.has(self.ref.sha256):
            downloads.end(OWNER)
            self._open()
        elif not downloads.owner:  # what is being installed comes first
            try:
                downloads.begin(OWNER, [self.ref], at_once=True)
            except (StoreError, MessageError) as error:
                self.fail(str(error))
        elif downloads.owner == OWNER:
            self._give_up_if_stalled(downloads.progress[0], time.monotonic())

    def take(self, ended: HelperEnded) -> bool:
        """Take the result of the batch that was submitted last; return False if it is of something else."""
        if self._job is None or ended.job is not self._job:
            return False
        self._job = None
        if self._over or self._pack is None:
            return True
        if ended.killed:  # its files are begun once more, or timed alone, or given up
            self._place.announce("fault", f"a batch of the measurement {ended.error}")
            self._next()
            return True
        try:
            result = msgspec.json.decode(ended.output, type=BatchResult)
        except msgspec.MsgspecError:
            result = BatchResult(ok=False, error=ended.error or "its result cannot be read")
        if not result.ok:
            self.fail(result.error)
            return True
        self._machine, self._conditions = result.machine, result.conditions
        self._slowed = result.slowed or self._slowed
        if self._keep({each.file: each for each in result.timings if each.file in self._batch}):
            self._progress(self.known())
            self._next()
        return True

    def known(self) -> PackTimings:
        """Return all that is known of the pack so far."""
        files = self._pack.header.files if self._pack is not None else ()
        found = [(index, self._kept.of(file.sha256)) for index, file in enumerate(files)]
        return PackTimings(
            total=len(files),
            runtime_version=self._version[:100],
            machine=self._machine[:400],
            timings=tuple(msgspec.structs.replace(timing, file=index) for index, timing in found if timing is not None),
            slowed=self._slowed,
            conditions=self._conditions,
        )

    def fail(self, reason: str) -> None:
        """Give up; what was timed is kept."""
        if not self._over:
            known = self.known() if self._pack is not None else None
            self._close()
            self._end("failed", reason, known)

    def _give_up_if_stalled(self, have: int, now_s: float) -> None:
        if have != self._had:
            self._had, self._progress_s = have, now_s
        elif now_s - self._progress_s > _STALLED_S:
            self.fail(f"no chunk of the pack came for {_STALLED_S / 60:.0f} minutes")

    def _open(self) -> None:
        profile = self._place.profile
        try:
            self._place.store.verify(self.ref.sha256)
            pack = Pack(self._place.store.path(self.ref.sha256))
        except (StoreError, PackError) as error:
            self.fail(str(error))
            return
        header = pack.header
        if header.runtime != profile.runtime.name or not self._version:
            known = f"{profile.runtime.name} {self._version or '(not installed)'}"
            self.fail(f"the pack is for {header.runtime}, this device runs {known}")
        elif header.precision not in profile.precisions:
            self.fail(f"profile {profile.name}: takes {', '.join(profile.precisions)}, not {header.precision}")
        else:
            self._pack = pack
            self._kept.begin(header, self._version)
            self._next()

    def _next(self) -> None:
        assert self._pack is not None
        files = self._pack.header.files
        left = [index for index, file in enumerate(files) if self._kept.of(file.sha256) is None]
        given_up = [index for index in left if self._kept.begun(files[index].sha256) >= _MOST_BEGUN]
        if given_up:
            why = f"ended the process that timed it, {_MOST_BEGUN} times"
            if not self._keep({index: FileTiming(file=index, error=why) for index in given_up}):
                return
            left = [index for index in left if index not in given_up]
        if not left:
            known = self.known()
            self._close()
            timed = sum(1 for each in known.timings if not each.error)
            self._end("done", f"{timed} of {known.total} files timed", known)
            return
        alone = [index for index in left if self._kept.begun(files[index].sha256) >= _TOGETHER]
        self._batch = alone[:1] if alone else self._together(left)
        try:
            self._kept.note_begun([files[index].sha256 for index in self._batch])
        except StoreError as error:
            self.fail(str(error))
            return
        self._submit()

    def _together(self, left: list[int]) -> list[int]:
        assert self._pack is not None
        batch, size = left[:1], self._pack.header.files[left[0]].size
        for index in left[1:BATCH]:
            size += self._pack.header.files[index].size
            if size > BATCH_BYTES:
                break
            batch.append(index)
        return batch

    def _submit(self) -> None:
        profile = self._place.profile
        request = BatchRequest(
            pack=str(self._place.store.path(self.ref.sha256)),
            indexes=tuple(self._batch),
            scratch=str(self._place.state_path),
            providers=tuple(profile.runtime.providers),
            sysfs_root=str(self._place.sysfs_root),
            throttle_c=profile.thermal.throttle_c,
            time_limit_s=_ROUNDS_LIMIT_S,
        )
        self._job = Job(
            owner=OWNER,
            key=str(self._batch[0]),
            module=_MODULE,
            request=msgspec.json.encode(request),
            time_limit_s=_JOB_LIMIT_S,
        )
        self._place.helpers.submit(self._job)

    def _keep(self, timings: dict[int, FileTiming]) -> bool:
        assert self._pack is not None
        digests = self._pack.header.files
        try:
            self._kept.put({digests[index].sha256: timing for index, timing in timings.items()})
        except StoreError as error:
            self.fail(str(error))
            return False
        return True

    def _close(self) -> None:
        self._over = True
        self._place.helpers.cancel(OWNER)
        self._place.downloads.end(OWNER)
        with contextlib.suppress(StoreError, OSError):
            self._place.store.drop_part(self.ref.sha256)
            Path(self._place.store.path(self.ref.sha256)).unlink(missing_ok=True)
