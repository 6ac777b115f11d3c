"""Telemetry on disk until the host has it: bounded, in order, kind to SD cards.

A batch is sent only after its samples are committed, so a number that the host has seen is never given out again, even if
the process is killed. Samples that were not yet committed are lost then, with their numbers: there is no gap. The host
sorts out repetitions by ``boot`` and ``seq``.
"""

from __future__ import annotations

import logging
from collections import deque
from dataclasses import dataclass
from pathlib import Path

from secateur_agent.link.outbox_file import OutboxFile, Row
from secateur_agent.protocol.messages import MessageError, Reading, Sample, Telemetry, decode, encode
from secateur_agent.protocol.topics import TopicError, checked_id
from secateur_agent.store import StoreError

COMMIT_INTERVAL_S = 1.0
RESEND_S = 15.0
MAX_RESEND_S = 240.0
MAX_BATCHES_IN_FLIGHT = 4
MAX_BATCH_BYTES = 256 << 10
MAX_UNCOMMITTED = 1000

_log = logging.getLogger(__name__)


@dataclass
class _Batch:
    """A batch that was sent and is not acknowledged: its last row and seq, and when (monotonic time)."""

    boot: str
    last_seq: int
    last_row: int
    sent_s: float


class Outbox:
    """The samples that the host has not acknowledged. Attributes: ``boot``; ``fault``, one line while the disk refuses."""

    def __init__(self, path: Path, boot: str, max_samples: int = 20000) -> None:
        """Open the outbox; a damaged file is set aside as ``<name>.damaged`` and a new one begun.

        Args:
            path: the SQLite file.
            boot: id under which new samples are numbered.
            max_samples: how many may be held; beyond, the oldest are dropped.

        Raises:
            StoreError: if the file cannot be created or written.
        """
        self.boot = boot
        self.fault = ""
        self._max_samples = max_samples
        self._file = OutboxFile(path, boot)
        self._last_seq = self._file.last_seq
        self._uncommitted: list[Sample] = []
        self._committed_s: float | None = None
        self._in_flight: deque[_Batch] = deque()
        self._resend_s = RESEND_S
        self._refused = 0

    @property
    def dropped(self) -> int:
        """How many samples were dropped unsent or unacknowledged, because too many were held; kept over restarts."""
        return self._file.dropped + self._refused

    def append(
        self,
        wall_s: float,
        mono_s: float,
        rung: str,
        requests: int,
        failed_requests: int,
        readings: dict[str, Reading],
    ) -> int:
        """Take a sample.

        Args:
            wall_s: Unix time.
            mono_s: monotonic time.
            rung: the rung that serves.
            requests: requests served so far.
            failed_requests: of these, failed.
            readings: sensor values by name.

        Returns:
            Its number in this boot, from 1.

        Raises:
            StoreError: if the disk has refused for so long that no more fit in memory; no number is given out then.
        """
        if len(self._uncommitted) >= MAX_UNCOMMITTED and not self._commit(mono_s):
            self._refused += 1
            raise StoreError(f"telemetry sample dropped: {self.fault}")
        sample = Sample(
            seq=self._last_seq + 1,
            mono_s=mono_s,
            wall_s=wall_s,
            rung=rung,
            requests=requests,
            failed_requests=failed_requests,
            readings=readings,
        )
        self._last_seq = sample.seq
        self._uncommitted.append(sample)
        if self._committed_s is None or not 0 <= mono_s - self._committed_s < COMMIT_INTERVAL_S:
            self._commit(mono_s)
        return sample.seq

    def next_batch(self, now_s: float, limit: int = 50) -> Telemetry | None:
        """Return what to send now: the oldest samples, all of one boot, that are neither acknowledged nor in flight.

        What is not acknowledged in time is sent again, from the oldest on and one batch at a time until the host
        answers, less often each time.

        Args:
            now_s: monotonic time.
            limit: most samples.

        Returns:
            The batch, or None if nothing is due.

        Raises:
            StoreError: if the file cannot be read.
        """
        if self._uncommitted:
            self._commit(now_s)
        if self._in_flight and now_s - self._in_flight[0].sent_s >= self._resend_s:
            self._in_flight.clear()
            self._resend_s = min(MAX_RESEND_S, self._resend_s * 2)
        if len(self._in_flight) >= (MAX_BATCHES_IN_FLIGHT if self._resend_s == RESEND_S else 1):
            return None
        after_row = self._in_flight[-1].last_row if self._in_flight else 0
        rows, samples = self._readable(self._file.oldest(after_row, limit))
        if not rows:
            return None
        boot = rows[0].boot
        self._in_flight.append(_Batch(boot, samples[-1].seq, rows[-1].row, now_s))
        return Telemetry(boot=boot, first_held=self._file.first_held(boot), samples=tuple(samples))

    def acknowledge(self, boot: str, seq: int) -> int:
        """The host has committed every sample of ``boot`` up to and with ``seq``: forget them.

        Returns:
            How many samples were forgotten.
        """
        self._in_flight = deque(batch for batch in self._in_flight if batch.boot != boot or batch.last_seq > seq)
        try:
            forgotten = self._file.forget(boot, seq)
        except StoreError as error:
            self._tell(str(error))
            return 0
        if forgotten:
            self._resend_s = RESEND_S
        return forgotten

    def rewind(self) -> None:
        """After a reconnect, or when a batch could not be sent: send again whatever is not acknowledged."""
        self._in_flight.clear()
        self._resend_s = RESEND_S

    def held(self) -> int:
        """Return how many samples are not acknowledged."""
        return self._file.count() + len(self._uncommitted)

    def close(self) -> None:
        """Commit what is left and close the file."""
        if self._uncommitted:
            self._commit(0.0)
        self._file.close()

    def _commit(self, now_s: float) -> bool:
        self._committed_s = now_s
        rows = [(sample.seq, encode(sample)) for sample in self._uncommitted]
        try:
            self._file.add(rows, self._max_samples)
        except StoreError as error:
            self._tell(str(error))
            return False
        self._uncommitted.clear()
        self.fault = ""
        return True

    def _tell(self, fault: str) -> None:
        if fault != self.fault:
            _log.warning("%s", fault)
        self.fault = fault

    def _readable(self, rows: list[Row]) -> tuple[list[Row], list[Sample]]:
        """Decode rows of one boot, up to `MAX_BATCH_BYTES`; damaged rows are dropped."""
        kept: list[Row] = []
        samples: list[Sample] = []
        size = 0
        for row in rows:
            try:
                # A damaged file may hold any type in any column.
                sample = decode(row.body if isinstance(row.body, bytes) else b"", Sample, f"outbox row {row.row}")
                if sample.seq != row.seq or not checked_id(row.boot):
                    raise MessageError(f"outbox row {row.row}: its number is {sample.seq}, not {row.seq}")
            except (MessageError, TopicError, TypeError) as error:
                _log.warning("telemetry sample dropped, damaged on disk: %s", error)
                self._file.drop_row(row.row)
                continue
            size += len(row.body)
            if kept and size > MAX_BATCH_BYTES:
                break
            kept.append(row)
            samples.append(sample)
        return kept, samples
