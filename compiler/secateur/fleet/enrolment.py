"""One-time tokens with which devices are enrolled: made when a card is written, used by the first key that proves one.

The table keeps the public half of each token's key (`secateur_agent.protocol.enrolment`): whoever reads it can prove none.
A controller and commands may use it at the same time, each in a process of its own.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
from sqlalchemy import Connection, Row, delete, select, update
from sqlalchemy.dialects.sqlite import insert

from secateur.fleet.devices import DeviceStore
from secateur.fleet.schema import devices, enrolments
from secateur.fleet.store import Store, StoreError
from secateur_agent.clock_floor import utc
from secateur_agent.protocol.enrolment import TOKEN_BYTES, encode_token, public_token_key
from secateur_agent.protocol.envelope import keyid_of
from secateur_agent.protocol.topics import TopicError, checked_id

DEFAULT_LIFETIME_S = 30 * 86_400.0
"""A card that was written is booted within a month; one that was lost longer ago enrols nothing."""


class EnrolmentError(ValueError):
    """A token cannot be made, or there is nothing to forget."""


class Enrolment(msgspec.Struct, frozen=True, kw_only=True):
    """A token as the host knows it. Times are Unix seconds, None if it did not happen; ``used_key`` is a key id."""

    token_key: str
    device: str
    created_s: float
    expires_s: float | None
    used_s: float | None
    used_key: str
    revoked_s: float | None
    note: str

    def status(self, now_s: float) -> str:
        """Return ``used``, ``revoked``, ``expired`` or ``unused``."""
        if self.used_s is not None:
            return "used"
        if self.revoked_s is not None:
            return "revoked"
        return "expired" if self.expires_s is not None and now_s >= self.expires_s else "unused"


class Enrolments:
    """All tokens of one database."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def create(self, device: str, lifetime_s: float | None = DEFAULT_LIFETIME_S, note: str = "") -> str:
        """Make a token for a device, whether it is enrolled or not: it may be flashed again.

        What counted before goes on counting until this token is used: then the key of before and all older tokens end.

        Args:
            device: its id.
            lifetime_s: how long it can be used; None for ever.
            note: for people.

        Returns:
            The token as it stands in the device's file. It is kept nowhere else.

        Raises:
            EnrolmentError: if the id is not well formed.
            secateur.fleet.store.StoreError: if the database refuses.
        """
        try:
            checked_id(device)
        except TopicError as error:
            raise EnrolmentError(f"device: {error}") from None
        token, now_s = secrets.token_bytes(TOKEN_BYTES), time.time()
        row = {
            "token_key": public_token_key(token),
            "device": device,
            "created_s": now_s,
            "expires_s": None if lifetime_s is None else now_s + lifetime_s,
            "note": " ".join(note.split())[:500],
        }
        with self._store.write() as connection:
            connection.execute(insert(enrolments).values(**row))
        return encode_token(token)

    def forget(self, device: str) -> int:
        """Remove the key and all tokens of a device, so that it can be enrolled again; return how many tokens that were.

        Raises:
            EnrolmentError: if there is neither.
        """
        with self._store.write() as connection:
            removed = connection.execute(delete(enrolments).where(enrolments.c.device == device)).rowcount
            known = devices.c.public_key.is_not(None)
            keys = connection.execute(
                update(devices).where(devices.c.device == device, known).values(public_key=None)
            ).rowcount
        if not removed and not keys:
            raise EnrolmentError(
                f"device {device!r}: neither a key nor a token of it is known; 'secateur devices list' shows all"
            )
        return int(removed)

    def all(self) -> list[Enrolment]:
        """Return all tokens, by device and age."""
        query = select(enrolments).order_by(enrolments.c.device, enrolments.c.created_s)
        with self._store.read() as connection:
            return [_enrolment(row) for row in connection.execute(query)]

    def of(self, device: str) -> list[Enrolment]:
        """Return the tokens of a device, the oldest first."""
        with self._store.read() as connection:
            return tokens_of(connection, device)

    def has_device(self, device: str) -> bool:
        """Whether a device with this id is known by its key, by a token or because it was the first to come."""
        return bool(DeviceStore(self._store).enrolled({device}))


@contextmanager
def open_enrolments(state: Path) -> Iterator[Enrolments]:
    """Open the tokens of a controller's state folder, whether the controller runs or not.

    Args:
        state: its state folder; created if need be.

    Raises:
        secateur.fleet.store.StoreError: if it cannot be used.
    """
    try:
        state.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"state folder {state}: {error.strerror}") from None
    store = Store(state / "fleet.sqlite")
    try:
        yield Enrolments(store)
    finally:
        store.close()


def describe(public_key: str, tokens: list[Enrolment], now_s: float) -> str:
    """Return in a line how a device stands that has this key ('' for none) and these tokens."""
    waiting = [each for each in tokens if each.status(now_s) == "unused"]
    if not public_key:
        if waiting:
            return "waits for its first start with its token"
        return f"not enrolled; its token is {tokens[-1].status(now_s)}" if tokens else "not enrolled"
    mine = keyid_of(public_key)
    used = [each for each in tokens if each.used_key == mine]
    text = f"by its token on {utc(used[-1].used_s or 0.0)}" if used else "its key was trusted on first use"
    return text + ("; a newer token will replace its key" if waiting else "")


def find_token(connection: Connection, token_key: str) -> Enrolment | None:
    """Return the token with this public key."""
    row = connection.execute(select(enrolments).where(enrolments.c.token_key == token_key)).first()
    return None if row is None else _enrolment(row)


def tokens_of(connection: Connection, device: str) -> list[Enrolment]:
    """Return the tokens of a device, the oldest first."""
    query = select(enrolments).where(enrolments.c.device == device).order_by(enrolments.c.created_s)
    return [_enrolment(row) for row in connection.execute(query)]


def use_token(connection: Connection, token: Enrolment, keyid: str, now_s: float) -> None:
    """Mark a token as used by a key; older ones that were not used end with that."""
    used = {"used_s": now_s, "used_key": keyid}
    connection.execute(update(enrolments).where(enrolments.c.token_key == token.token_key).values(**used))
    end_tokens(connection, token.device, now_s, created_until_s=token.created_s)


def end_tokens(connection: Connection, device: str, now_s: float, created_until_s: float | None = None) -> int:
    """Revoke the unused tokens of a device, all or those made until then; return how many."""
    statement = update(enrolments).where(
        enrolments.c.device == device, enrolments.c.used_s.is_(None), enrolments.c.revoked_s.is_(None)
    )
    if created_until_s is not None:
        statement = statement.where(enrolments.c.created_s <= created_until_s)
    return int(connection.execute(statement.values(revoked_s=now_s)).rowcount)


def _enrolment(row: Row[tuple[object, ...]]) -> Enrolment:
    return Enrolment(**row._asdict())
