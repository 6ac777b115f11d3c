"""What is known of each device: its birth, connection state, reported shadow, and what happened to it."""

from __future__ import annotations

import hashlib
import time
from typing import Any

import msgspec
from msgspec.structs import replace
from sqlalchemy import Connection, Row, select, update
from sqlalchemy.dialects.sqlite import insert

from secateur.fleet.schema import devices, events
from secateur.fleet.store import Store
from secateur_agent.protocol.messages import Birth, Event, Reported, State


class UnknownDevice(ValueError):
    """No device of this id has introduced itself."""


class Device(msgspec.Struct, frozen=True, kw_only=True):
    """A device as the controller knows it. ``state`` is that of the protocol, '' if it never said."""

    device: str
    state: str
    state_reason: str
    boot: str
    public_key: str
    birth: Birth | None
    reported: Reported | None
    first_seen_s: float
    last_seen_s: float


class DeviceStore:
    """All devices and their events. Those methods that take a connection are part of the caller's transaction."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def names(self) -> list[str]:
        """Return the ids of all devices, sorted."""
        with self._store.read() as connection:
            return list(connection.scalars(select(devices.c.device).order_by(devices.c.device)))

    def all(self) -> list[Device]:
        """Return all devices, by id."""
        with self._store.read() as connection:
            return [_device(row) for row in connection.execute(select(devices).order_by(devices.c.device))]

    def get(self, device: str) -> Device:
        """Return one device.

        Raises:
            UnknownDevice: if there is none of this id; says which there are.
        """
        with self._store.read() as connection:
            row = connection.execute(select(devices).where(devices.c.device == device)).first()
        if row is None:
            known = self.names()
            hint = f"known are {', '.join(known[:8])}" if known else "no device has introduced itself yet"
            raise UnknownDevice(f"device {device!r}: unknown; {hint}{', …' if len(known) > 8 else ''}")
        return _device(row)

    def hold(self, connection: Connection, device: str) -> str | None:
        """Return the public key of a device, None if it has none, and keep others from changing it in this transaction."""
        # A write, though of nothing: it takes the database's lock before the key is read.
        connection.execute(update(devices).where(devices.c.device == device).values(device=device))
        return connection.scalar(select(devices.c.public_key).where(devices.c.device == device))

    def born(self, connection: Connection, birth: Birth) -> None:
        """Record who a device says it is, once it was admitted: from now on this key is its key."""
        signed = msgspec.json.encode(replace(birth, enrolment=""))
        self.seen(connection, birth.device, public_key=birth.public_key, birth=signed, boot=birth.boot)

    def enrolled(self, names: set[str]) -> set[str]:
        """Return those of the devices that have a key."""
        query = select(devices.c.device).where(devices.c.device.in_(names), devices.c.public_key.is_not(None))
        with self._store.read() as connection:
            return set(connection.scalars(query))

    def noticed(self, connection: Connection, device: str) -> None:
        """Make a row for a device that was not admitted, so that its events can be looked up."""
        now_s = time.time()
        statement = insert(devices).values(device=device, first_seen_s=now_s, last_seen_s=now_s)
        connection.execute(statement.on_conflict_do_nothing())

    def state(self, connection: Connection, device: str, state: State) -> None:
        """Record whether a device is there."""
        self.seen(connection, device, state=state.state, state_reason=state.reason, boot=state.boot)

    def reported(self, connection: Connection, device: str, reported: Reported) -> None:
        """Record a device's side of the shadow."""
        self.seen(connection, device, reported=msgspec.json.encode(reported))

    def seen(self, connection: Connection, device: str, **changes: Any) -> None:
        """Record that a device was heard of now, with changes to its row."""
        now_s = time.time()
        statement = insert(devices).values(device=device, first_seen_s=now_s, last_seen_s=now_s, **changes)
        connection.execute(statement.on_conflict_do_update(index_elements=["device"], set_=changes | {"last_seen_s": now_s}))

    def heard(self, connection: Connection, names: set[str]) -> None:
        """Record that these devices sent telemetry now; creates none."""
        if names:
            connection.execute(update(devices).where(devices.c.device.in_(names)).values(last_seen_s=time.time()))

    def add_event(self, connection: Connection, device: str, message: Event, payload: bytes) -> None:
        """Record an event of a device; the same message delivered twice is one event."""
        self._add(
            connection,
            device=device,
            source="device",
            kind=message.kind,
            boot=message.boot,
            wall_s=message.wall_s,
            text=message.text,
            evidence=msgspec.json.encode(message.evidence),
            digest=hashlib.sha256(payload).hexdigest()[:32],
        )

    def add_host_event(self, connection: Connection, device: str, kind: str, text: str, **evidence: Any) -> None:
        """Record something that the host noticed about a device, or ('' as device) about itself."""
        wall_s, encoded = time.time(), msgspec.json.encode(evidence)
        digest = hashlib.sha256(f"host {wall_s!r} {kind} {text}".encode("utf-8", "replace") + encoded).hexdigest()[:32]
        self._add(
            connection,
            device=device,
            source="host",
            kind=kind,
            boot="",
            wall_s=wall_s,
            text=text,
            evidence=encoded,
            digest=digest,
        )

    def note(self, device: str, kind: str, text: str, **evidence: Any) -> None:
        """Like `add_host_event`, in a transaction of its own."""
        with self._store.write() as connection:
            self.add_host_event(connection, device, kind, text, **evidence)

    def events(self, device: str, after: int = 0, limit: int = 200) -> list[dict[str, Any]]:
        """Return events of a device, oldest first.

        Args:
            device: its id; '' for the host's own.
            after: return only those whose ``id`` is higher; 0 for the newest ``limit``.
            limit: at most so many.
        """
        query = select(events).where(events.c.device == device).limit(limit)
        query = query.where(events.c.id > after).order_by(events.c.id) if after else query.order_by(events.c.id.desc())
        with self._store.read() as connection:
            found = connection.execute(query).all()
        rows = [
            {
                "id": row.id,
                "source": row.source,
                "kind": row.kind,
                "boot": row.boot,
                "wall_s": row.wall_s,
                "text": row.text,
                "evidence": msgspec.json.decode(row.evidence),
            }
            for row in found
        ]
        return rows if after else rows[::-1]

    def _add(self, connection: Connection, **values: Any) -> None:
        connection.execute(insert(events).values(**values).on_conflict_do_nothing())


def _device(row: Row[Any]) -> Device:
    return Device(
        device=row.device,
        state=row.state,
        state_reason=row.state_reason,
        boot=row.boot,
        public_key=row.public_key or "",
        birth=msgspec.json.decode(row.birth, type=Birth) if row.birth else None,
        reported=msgspec.json.decode(row.reported, type=Reported) if row.reported else None,
        first_seen_s=row.first_seen_s,
        last_seen_s=row.last_seen_s,
    )
