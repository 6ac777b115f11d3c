"""Commands to devices: signed, retained until they have ended or expired, each on a topic of its own.

Nothing here waits for a command to end, so one that is stuck never holds up the next.
"""

from __future__ import annotations

import time
import uuid
from typing import Any

import msgspec
from sqlalchemy import Connection, Row, func, select, update
from sqlalchemy.dialects.sqlite import insert

from secateur.bundle.keys import Keys
from secateur.fleet.schema import commands as table
from secateur.fleet.shadow import Send
from secateur.fleet.store import Store
from secateur_agent.protocol import topics
from secateur_agent.protocol.envelope import Envelope
from secateur_agent.protocol.messages import BlobRef, Command, CommandStatus

DEFAULT_EXPIRY_S = 300.0
MAX_EXPIRY_S = 7 * 86400.0
BODIES = ("measure", "restart", "diagnose", "rollback")
TERMINAL = ("done", "failed", "refused", "expired")


class CommandError(ValueError):
    """A command cannot be sent as asked."""


class Commands:
    """All commands that were sent, and how they went."""

    def __init__(self, store: Store, keys: Keys, send: Send) -> None:
        self._store = store
        self._keys = keys
        self._send = send

    def issue(
        self, device: str, body: str, expiry_s: float = DEFAULT_EXPIRY_S, pack: BlobRef | None = None
    ) -> dict[str, Any]:
        """Sign a command, store it, publish it.

        Args:
            device: to whom.
            body: one of `BODIES`.
            expiry_s: after so many seconds it must no longer be carried out.
            pack: with ``measure``: the files to time instead of the rungs.

        Returns:
            The command as `get` returns it.

        Raises:
            CommandError: if there is no such command, or the expiry is out of range.
        """
        if body not in BODIES:
            raise CommandError(f"command {body!r}: choose one of {', '.join(BODIES)}")
        if not 1.0 <= expiry_s <= MAX_EXPIRY_S:
            raise CommandError(f"command expiry {expiry_s:g} s: choose 1 to {MAX_EXPIRY_S:g} s")
        now_s = time.time()
        with self._store.write() as connection:
            last = connection.scalar(select(func.max(table.c.seq)).where(table.c.device == device)) or 0
            # From the clock, so that it goes on growing if this database is ever lost.
            seq = max(last + 1, int(now_s * 1000))
            identity = f"{body}-{uuid.uuid4().hex[:12]}"
            fields = {"device": device, "id": identity, "seq": seq, "expires_s": now_s + expiry_s, "body": body}
            command = msgspec.structs.replace(msgspec.convert(fields, Command), pack=pack)
            envelope = self._keys.seal("command", command)
            connection.execute(
                insert(table).values(
                    device=device,
                    id=identity,
                    seq=seq,
                    body=body,
                    envelope=envelope,
                    expires_s=now_s + expiry_s,
                    sent_s=now_s,
                )
            )
        self._send(topics.command(device, identity), envelope, qos=1, retain=True, expiry_s=expiry_s)
        return self.get(device, identity)

    def get(self, device: str, identity: str) -> dict[str, Any]:
        """Return one command.

        Raises:
            CommandError: if there is none of this id.
        """
        with self._store.read() as connection:
            row = connection.execute(select(table).where(table.c.device == device, table.c.id == identity)).first()
        if row is None:
            raise CommandError(f"command {identity!r}: none of this id was sent to {device}")
        return _row(row)

    def recent(self, device: str, limit: int = 50) -> list[dict[str, Any]]:
        """Return the newest commands of a device, oldest first."""
        query = select(table).where(table.c.device == device).order_by(table.c.seq.desc()).limit(limit)
        with self._store.read() as connection:
            return [_row(row) for row in connection.execute(query)][::-1]

    def open_packs(self, device: str = "") -> list[BlobRef]:
        """Return the packs of the commands that have not ended: to one device, or to all if none is named."""
        query = select(table.c.envelope).where(table.c.body == "measure", table.c.status.not_in(TERMINAL))
        if device:
            query = query.where(table.c.device == device)
        with self._store.read() as connection:
            envelopes = connection.scalars(query).all()
        signed = [msgspec.json.decode(envelope, type=Envelope).signed for envelope in envelopes]
        packs = [msgspec.json.decode(each, type=Command).pack for each in signed]
        return [pack for pack in packs if pack is not None]

    def record(self, connection: Connection, device: str, identity: str, status: CommandStatus) -> bool:
        """Record what a device reports of a command; what comes after its end is ignored.

        Returns:
            True if this ended the command, so that it should be cleared from the broker with `clear`.
        """
        ended = status.status in TERMINAL
        result = connection.execute(
            update(table)
            .where(table.c.device == device, table.c.id == identity, table.c.status.not_in(TERMINAL))
            .values(
                status=status.status,
                text=status.text,
                result=msgspec.json.encode(status.result),
                finished_s=time.time() if ended else None,
            )
        )
        return ended and result.rowcount > 0

    def clear(self, device: str, identity: str) -> None:
        """Take a command off the broker."""
        self._send(topics.command(device, identity), b"", qos=1, retain=True)

    def expire(self) -> list[tuple[str, str]]:
        """End the commands whose time has passed and take them off the broker; return (device, id) of each."""
        now_s = time.time()
        open_now = table.c.status.not_in(TERMINAL) & (table.c.expires_s < now_s)
        with self._store.read() as connection:
            late = [(row.device, row.id) for row in connection.execute(select(table.c.device, table.c.id).where(open_now))]
        if late:
            with self._store.write() as connection:
                connection.execute(
                    update(table)
                    .where(open_now)
                    .values(status="expired", text="no end was reported in time", finished_s=now_s)
                )
            for device, identity in late:
                self.clear(device, identity)
        return late

    def publish_open(self) -> None:
        """Publish the commands that have not ended again: a broker that was restarted has forgotten them.

        A device that carries one out already knows it by its id and ``seq``.
        """
        now_s = time.time()
        query = select(table).where(table.c.status.not_in(TERMINAL), table.c.expires_s > now_s).order_by(table.c.seq)
        with self._store.read() as connection:
            rows = connection.execute(query).all()
        for row in rows:
            topic = topics.command(row.device, row.id)
            self._send(topic, row.envelope, qos=1, retain=True, expiry_s=row.expires_s - now_s)


def _row(row: Row[Any]) -> dict[str, Any]:
    return {
        "device": row.device,
        "id": row.id,
        "body": row.body,
        "status": row.status,
        "text": row.text,
        "result": msgspec.json.decode(row.result),
        "sent_s": row.sent_s,
        "expires_s": row.expires_s,
        "finished_s": row.finished_s,
    }
