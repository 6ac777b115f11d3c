"""Telemetry: stores samples, each once, and says up to which one a device may forget."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import Connection, bindparam, exists, func, select
from sqlalchemy.dialects.sqlite import insert

from secateur.fleet.schema import samples
from secateur.fleet.store import Store
from secateur_agent.protocol.messages import Telemetry

_MAX_RUNS = 100_000


_following = samples.alias()
_MINE = (samples.c.device == bindparam("device")) & (samples.c.boot == bindparam("boot"))
_HAS_NEXT = exists().where(
    _following.c.device == samples.c.device,
    _following.c.boot == samples.c.boot,
    _following.c.seq == samples.c.seq + 1,
)
_IS_STORED = select(samples.c.seq).where(_MINE, samples.c.seq == bindparam("held"))
_END_OF_RUN = (
    select(samples.c.seq).where(_MINE, samples.c.seq >= bindparam("held"), ~_HAS_NEXT).order_by(samples.c.seq).limit(1)
)
_NEWEST = select(func.max(samples.c.seq)).where(_MINE)


class Batch(NamedTuple):
    """A telemetry message and the device whose topic it came on."""

    device: str
    telemetry: Telemetry


class Acknowledged(NamedTuple):
    """Every sample of ``boot`` from the oldest that the device holds up to and with ``seq`` is on disk."""

    device: str
    boot: str
    seq: int


class SampleStore:
    """The samples of all devices."""

    def __init__(self, store: Store) -> None:
        self._store = store
        # (device, boot) → first and last seq of a run known to be stored with nothing stored beyond it. It saves the
        # query for devices that report in order; the truth is the table.
        self._runs: dict[tuple[str, str], tuple[int, int]] = {}
        self._insert = insert(samples).on_conflict_do_nothing()

    def add(self, batches: Sequence[Batch]) -> list[Acknowledged]:
        """Store the samples of several messages in one transaction; those already there are skipped.

        Args:
            batches: messages in order of arrival.

        Returns:
            What each device may be told, once per (device, boot); nothing where its oldest held sample is missing.

        Raises:
            secateur.fleet.store.StoreError: if nothing was stored.
        """
        received_s = time.time()
        rows = [
            {
                "device": device,
                "boot": telemetry.boot,
                "seq": sample.seq,
                "sample": msgspec.json.encode(sample),
                "received_s": received_s,
            }
            for device, telemetry in batches
            for sample in telemetry.samples
        ]
        if not rows:
            return []
        try:
            with self._store.write() as connection:
                connection.execute(self._insert, rows)
                reached = {(batch.device, batch.telemetry.boot): self._reached(connection, batch) for batch in batches}
        except BaseException:
            self._runs.clear()
            raise
        return [Acknowledged(device, boot, seq) for (device, boot), seq in reached.items() if seq is not None]

    def read(self, device: str, after: int = 0, limit: int = 1000) -> list[dict[str, Any]]:
        """Return samples of a device in order of arrival.

        Args:
            device: its id.
            after: return only samples whose ``id`` is higher; 0 for all, negative for the newest ``limit``.
            limit: at most so many.

        Returns:
            The fields of each sample, with ``id``, ``boot`` and ``received_s``.
        """
        query = select(samples).where(samples.c.device == device).limit(limit)
        newest = after < 0
        query = query.order_by(samples.c.id.desc()) if newest else query.where(samples.c.id > after).order_by(samples.c.id)
        with self._store.read() as connection:
            found = connection.execute(query).all()
        rows = [
            {"id": row.id, "boot": row.boot, "received_s": row.received_s, **msgspec.json.decode(row.sample)}
            for row in found
        ]
        return rows[::-1] if newest else rows

    def _reached(self, connection: Connection, batch: Batch) -> int | None:
        key = (batch.device, batch.telemetry.boot)
        held, seqs = batch.telemetry.first_held, [sample.seq for sample in batch.telemetry.samples]
        run = self._runs.get(key)
        in_order = seqs == list(range(seqs[0], seqs[0] + len(seqs)))
        if run and in_order and held <= seqs[0]:
            if run[0] <= held <= run[1] + 1 and seqs[0] <= run[1] + 1:
                self._runs[key] = (run[0], max(run[1], seqs[-1]))
                return self._runs[key][1]
            if held == seqs[0] > run[1]:  # it dropped what lies between
                self._runs[key] = (held, seqs[-1])
                return seqs[-1]
        return self._query_reached(connection, key, held)

    def _query_reached(self, connection: Connection, key: tuple[str, str], held: int) -> int | None:
        where = {"device": key[0], "boot": key[1], "held": held}
        self._runs.pop(key, None)
        if connection.scalar(_IS_STORED, where) is None:
            return None
        reached: int | None = connection.scalar(_END_OF_RUN, where)
        newest = connection.scalar(_NEWEST, where)
        if reached is not None and newest == reached:
            if len(self._runs) >= _MAX_RUNS:
                self._runs.clear()
            self._runs[key] = (held, reached)
        return reached
