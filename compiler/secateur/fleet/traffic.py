"""Counts the bytes of chunks that each push cost, per device: broadcast to all, and repaired for one."""

from __future__ import annotations

import time
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.dialects.sqlite import insert

from secateur.fleet.schema import pushes
from secateur.fleet.store import Store


class Traffic:
    """Byte counts of pushes; kept in memory and saved from time to time."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._unsaved: dict[str, list[int]] = {}

    def begin(self, device: str, version: int, manifest_sha256: str) -> None:
        """Record a push: what is counted for ``device`` from now on belongs to it."""
        self.save()
        with self._store.write() as connection:
            connection.execute(
                insert(pushes)
                .values(device=device, version=version, manifest_sha256=manifest_sha256, pushed_s=time.time())
                .on_conflict_do_nothing()
            )

    def broadcast(self, device: str, count: int) -> None:
        """Count bytes that were published for several devices at once, ``device`` among them."""
        self._unsaved.setdefault(device, [0, 0])[0] += count

    def repaired(self, device: str, count: int) -> None:
        """Count bytes that were published for ``device`` alone."""
        self._unsaved.setdefault(device, [0, 0])[1] += count

    def save(self) -> None:
        """Write what was counted since the last time; nothing to write costs nothing."""
        unsaved, self._unsaved = self._unsaved, {}
        if not unsaved:
            return
        with self._store.write() as connection:
            for device, (broadcast, repaired) in unsaved.items():
                newest = (
                    select(pushes.c.version)
                    .where(pushes.c.device == device)
                    .order_by(pushes.c.version.desc())
                    .limit(1)
                    .scalar_subquery()
                )
                connection.execute(
                    update(pushes)
                    .where(pushes.c.device == device, pushes.c.version == newest)
                    .values(
                        broadcast_bytes=pushes.c.broadcast_bytes + broadcast,
                        repair_bytes=pushes.c.repair_bytes + repaired,
                    )
                )

    def pushes(self, device: str) -> list[dict[str, Any]]:
        """Return the pushes to a device, oldest first, each with ``broadcast_bytes`` and ``repair_bytes``."""
        self.save()
        query = select(pushes).where(pushes.c.device == device).order_by(pushes.c.version)
        with self._store.read() as connection:
            return [dict(row._mapping) for row in connection.execute(query)]
