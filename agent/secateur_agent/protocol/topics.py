"""MQTT topics of protocol version 1, built and parsed in one place.

Specification: ``docs/protocol.md``. ``up`` is device to host, ``dn`` is host to device.
"""

from __future__ import annotations

import re
from typing import NamedTuple

ROOT = "secateur/v1"

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


class TopicError(ValueError):
    """A topic, or an id to be placed in one, is not well formed."""


def checked_id(text: str) -> str:
    """Return ``text`` if it may be a device, command or ask id.

    Raises:
        TopicError: if it has characters that MQTT or a file system would interpret, or is empty or too long.
    """
    if not _ID.fullmatch(text):
        raise TopicError(f"id {text!r}: use 1 to 64 letters, digits, '.', '_' or '-', starting with a letter or digit")
    return text


def checked_sha256(text: str) -> str:
    """Return ``text`` if it is 64 lower-case hexadecimal digits.

    Raises:
        TopicError: if it is not.
    """
    if not _SHA256.fullmatch(text):
        raise TopicError(f"digest {text!r}: expected 64 lower-case hexadecimal digits")
    return text


def up(device: str, kind: str) -> str:
    """Topic of a message from ``device``; ``kind`` is ``state``, ``birth``, ``shadow``, ``telemetry`` or ``event``."""
    return f"{ROOT}/d/{checked_id(device)}/up/{kind}"


def down(device: str, kind: str) -> str:
    """Topic of a message to ``device``; ``kind`` is ``shadow`` or ``ack``."""
    return f"{ROOT}/d/{checked_id(device)}/dn/{kind}"


def ask(device: str, ask_id: str) -> str:
    """Topic on which ``device`` asks the host for something."""
    return f"{ROOT}/d/{checked_id(device)}/up/ask/{checked_id(ask_id)}"


def answer(device: str, ask_id: str) -> str:
    """Topic of the host's answer to ``ask_id``."""
    return f"{ROOT}/d/{checked_id(device)}/dn/answer/{checked_id(ask_id)}"


def command(device: str, command_id: str) -> str:
    """Topic of a signed command to ``device``."""
    return f"{ROOT}/d/{checked_id(device)}/dn/cmd/{checked_id(command_id)}"


def command_status(device: str, command_id: str) -> str:
    """Topic on which ``device`` reports how a command went."""
    return f"{ROOT}/d/{checked_id(device)}/up/cmd/{checked_id(command_id)}"


def chunk(sha256: str, index: int) -> str:
    """Topic of chunk ``index`` of a blob, published once for all devices."""
    return f"{ROOT}/b/{checked_sha256(sha256)}/{index}"


def repair(device: str, sha256: str, index: int) -> str:
    """Topic of one chunk that ``device`` alone asked for."""
    return f"{ROOT}/d/{checked_id(device)}/dn/b/{checked_sha256(sha256)}/{index}"


class FromDevice(NamedTuple):
    """A parsed ``up`` topic: ``kind`` is its first part, ``key`` the rest (the id of an ask or command) or ''."""

    device: str
    kind: str
    key: str


def parse_up(topic: str) -> FromDevice:
    """Parse a topic that a device published.

    Raises:
        TopicError: if it is not an ``up`` topic of this protocol version.
    """
    parts = topic.split("/")
    if len(parts) not in (6, 7) or "/".join(parts[:2]) != ROOT or parts[2] != "d" or parts[4] != "up":
        raise TopicError(f"topic {topic!r}: expected {ROOT}/d/<device>/up/<kind>[/<id>]")
    return FromDevice(checked_id(parts[3]), parts[5], checked_id(parts[6]) if len(parts) == 7 else "")


class ToDevice(NamedTuple):
    """A parsed topic that a device receives: ``kind`` is ``shadow``, ``ack``, ``answer``, ``cmd`` or ``chunk``.

    ``key`` is the id of the answer or command, or the digest of the chunk's blob; ``number`` is the chunk's index.
    """

    kind: str
    key: str = ""
    number: int = -1


def parse_down(device: str, topic: str) -> ToDevice:
    """Parse a topic that ``device`` received: its own ``dn`` topics and the chunks for all.

    Raises:
        TopicError: if it is neither.
    """
    parts = topic.split("/")
    if parts[:2] != ROOT.split("/"):
        raise TopicError(f"topic {topic!r}: expected it to begin with {ROOT}/")
    rest = parts[2:]
    if rest[:3] == ["d", device, "dn"]:
        rest = rest[3:]
    elif rest[:1] != ["b"]:
        raise TopicError(f"topic {topic!r}: not addressed to {device}")
    if rest in (["shadow"], ["ack"]):
        return ToDevice(rest[0])
    if len(rest) == 2 and rest[0] in ("answer", "cmd"):
        return ToDevice(rest[0], checked_id(rest[1]))
    if len(rest) == 3 and rest[0] == "b" and rest[2].isascii() and rest[2].isdigit() and len(rest[2]) <= 9:
        return ToDevice("chunk", checked_sha256(rest[1]), int(rest[2]))
    raise TopicError(f"topic {topic!r}: unknown kind of message to a device")
