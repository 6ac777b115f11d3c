"""The record of re-prune asks: who asked, why, what came of it."""

from __future__ import annotations

import time
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.dialects.sqlite import insert

from secateur.fleet.schema import asks
from secateur.fleet.store import Store
from secateur_agent.protocol.messages import AskReprune


class AskRecord:
    """All re-prune asks of all devices."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def begin(self, device: str, ask_id: str, ask: AskReprune) -> bool:
        """Record an ask; return False if it is known already (MQTT delivers at least once)."""
        with self._store.write() as connection:
            result = connection.execute(
                insert(asks)
                .values(
                    device=device,
                    id=ask_id,
                    manifest_sha256=ask.manifest_sha256,
                    reason=ask.reason,
                    asked_s=time.time(),
                    status="accepted",
                )
                .on_conflict_do_nothing()
            )
        return result.rowcount > 0

    def end(self, device: str, ask_id: str, **values: Any) -> None:
        """Record how an ask ended."""
        with self._store.write() as connection:
            connection.execute(update(asks).where(asks.c.device == device, asks.c.id == ask_id).values(**values))

    def interrupted(self) -> int:
        """Refuse what was being cut when the host ended; the devices ask again. Returns how many."""
        with self._store.write() as connection:
            result = connection.execute(
                update(asks).where(asks.c.status == "accepted").values(status="refused", text="the host was restarted")
            )
        return result.rowcount

    def recent(self, limit: int = 200) -> list[dict[str, Any]]:
        """Return the newest asks, oldest first."""
        query = select(asks).order_by(asks.c.asked_s.desc()).limit(limit)
        with self._store.read() as connection:
            rows = [dict(row._mapping) for row in connection.execute(query)][::-1]
        for row in rows:
            row["reused"] = bool(row["reused"])
        return rows
