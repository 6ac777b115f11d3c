"""What the agent remembers of its enrolment, in one small file, and the file of its one-time token."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from secateur_agent.clock_floor import utc
from secateur_agent.config import Config
from secateur_agent.protocol.enrolment import TOKEN_BYTES, TokenError, decode_token, public_token_key
from secateur_agent.store import write_atomic
from secateur_agent.store.files import sync_folder

_MOST_BYTES = 16 << 10
FILE = "enrolment.json"


class TokenFileError(ValueError):
    """The file of the token cannot be used, or cannot be removed; one line."""


Wall = Annotated[float, Meta(ge=0, le=2.5e11)]
"""Unix time up to the year 9900, which can still be printed."""


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """How the host last answered. ``token`` names the token that this is about (its public key), '' for none."""

    status: Literal["", "waiting", "enrolled", "refused"] = ""
    keyid: str = ""
    token: str = ""
    text: Annotated[str, Meta(max_length=2000)] = ""
    wall_s: Wall = 0.0
    refusals: Annotated[int, Meta(ge=0, le=10_000)] = 0
    until_s: Wall = 0.0
    wait_s: Annotated[float, Meta(ge=0, le=200_000)] = 0.0


def read_record(state: Path) -> Record:
    """Return what is remembered; an empty record if the file is not there or damaged: the host will answer again."""
    path = state / FILE
    with contextlib.suppress(OSError, msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        if path.stat().st_size <= _MOST_BYTES:
            return msgspec.json.decode(path.read_bytes(), type=Record)
    return Record()


def write_record(state: Path, record: Record) -> None:
    """Keep a record.

    Raises:
        secateur_agent.store.StoreError: if it cannot be written.
    """
    write_atomic(state / FILE, msgspec.json.encode(record) + b"\n", mode=0o600)


def read_token(path: str) -> bytes | None:
    """Return the token of a file; None if there is no such file, or no name of one.

    Raises:
        TokenFileError: if it cannot be read, or holds something else.
    """
    if not path:
        return None
    try:
        with open(path, "rb") as file:
            return decode_token(file.read(TOKEN_BYTES * 8))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise TokenFileError(f"enrolment_token_file {path}: cannot be read: {error.strerror}") from None
    except TokenError as error:
        raise TokenFileError(f"enrolment_token_file {path}: {error}; flash the device again, or remove the file") from None


def remove_token(path: str) -> None:
    """Remove a file of a token that was used, durably.

    Raises:
        TokenFileError: if it cannot be removed. That is no danger, for a used token is worth nothing.
    """
    file = Path(path)
    try:
        file.unlink(missing_ok=True)
        sync_folder(file.parent)
    except OSError as error:
        raise TokenFileError(
            f"enrolment_token_file {path}: cannot be removed: {error.strerror}; it was used, so remove it by hand"
        ) from None


def describe(config: Config) -> tuple[str, str]:
    """Return how the enrolment stands, in a word and in a line, for ``secateur-agent status``."""
    record, pending, problem = read_record(config.state_path), None, ""
    try:
        pending = read_token(config.enrolment_token_file)
    except TokenFileError as error:
        problem = str(error)
    fresh = pending is not None and public_token_key(pending) != record.token
    if record.status == "refused" and not fresh:
        kept = config.state_path / FILE
        return "refused", (
            f"by the host on {utc(record.wall_s)}: {record.text or 'no reason given'}; the next attempt is after "
            f"{utc(record.until_s)}. To try at once, remove {kept} and start the agent again"
        )
    if problem:
        return "waiting", problem
    if fresh or record.status == "waiting":
        return "waiting", "for the host to answer the token" if config.broker else "no broker is configured"
    if record.status == "enrolled":
        return "enrolled", f"on {utc(record.wall_s)}"
    return "no token", "a host trusts the first key that it sees of this device, or refuses it"
