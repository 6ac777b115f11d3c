"""Desired shadows: what each device should be, versioned, signed, and on disk before anybody is told."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import msgspec
from sqlalchemy import select
from sqlalchemy.dialects.sqlite import insert

from secateur.bundle.keys import Keys
from secateur.fleet.schema import desired as table
from secateur.fleet.schema import devices
from secateur.fleet.store import Store
from secateur_agent.protocol import topics
from secateur_agent.protocol.messages import Desired, Reported

Send = Callable[..., bool]

# A device that claims a version beyond this is not believed: versions must stay able to grow.
_MAX_BELIEVED_VERSION = 2**40


class Shadows:
    """The desired shadow of every device."""

    def __init__(self, store: Store, keys: Keys, send: Send) -> None:
        """
        Args:
            store: the database.
            keys: must hold the ``command`` key.
            send: `secateur.fleet.session.Session.send`.
        """
        self._store = store
        self._keys = keys
        self._send = send

    def get(self, device: str) -> Desired | None:
        """Return the desired shadow of a device, or None if there is none yet."""
        with self._store.read() as connection:
            body = connection.scalar(select(table.c.body).where(table.c.device == device))
        return msgspec.json.decode(body, type=Desired) if body is not None else None

    def change(self, device: str, change: Callable[[Desired], Desired]) -> tuple[Desired, int]:
        """Change a desired shadow: the next version is stored, then published.

        Args:
            device: its id.
            change: takes the present shadow (an empty one at first) and returns what it should become.

        Returns:
            The new shadow, and the bytes of the message.
        """
        with self._store.write() as connection:
            row = connection.execute(select(table.c.version, table.c.body).where(table.c.device == device)).first()
            reported = connection.scalar(select(devices.c.reported).where(devices.c.device == device))
            # If this database is younger than the device's memory, go on from what the device has seen.
            seen = msgspec.json.decode(reported, type=Reported).version if reported else 0
            version = 1 + max(row.version if row else 0, seen if seen < _MAX_BELIEVED_VERSION else 0)
            present = msgspec.json.decode(row.body, type=Desired) if row else Desired(device=device, version=version)
            wanted = msgspec.structs.replace(change(present), device=device, version=version)
            envelope = self._keys.seal("command", wanted)
            values = {
                "version": version,
                "body": msgspec.json.encode(wanted),
                "envelope": envelope,
                "updated_s": time.time(),
            }
            statement = insert(table).values(device=device, **values)
            connection.execute(statement.on_conflict_do_update(index_elements=["device"], set_=values))
        self._publish(device, envelope)
        return wanted, len(envelope)

    def publish_all(self) -> None:
        """Publish every desired shadow again: a broker that was restarted has forgotten them."""
        for device, envelope in self._envelopes():
            self._publish(device, envelope)

    def _publish(self, device: str, envelope: bytes) -> None:
        self._send(topics.down(device, "shadow"), envelope, qos=1, retain=True)

    def _envelopes(self) -> Iterator[tuple[str, bytes]]:
        with self._store.read() as connection:
            for row in connection.execute(select(table.c.device, table.c.envelope)).all():
                yield row.device, row.envelope
