"""What the host says that it sends: ``provision.json`` of a payload."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .errors import SetupError

NAME = "provision.json"
STATUS = "setup-status.json"
ENVIRONMENT = "environment.tar.gz"
_FLAT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_MAX_BYTES = 1 << 20


@dataclass(frozen=True)
class File:
    """One file of the payload."""

    sha256: str
    size: int
    secret: bool


@dataclass(frozen=True)
class Provision:
    """The description of a payload. ``clock_s`` is when it was made, in Unix seconds: it cannot be earlier now."""

    device: str
    release: str
    python: str
    machine: str
    unpacked_bytes: int
    clock_s: int
    files: dict[str, File]


def read(folder: Path) -> Provision:
    """Read and check the description.

    Raises:
        SetupError: if it is not there or damaged.
    """
    path = folder / NAME
    try:
        text = path.read_bytes()[: _MAX_BYTES + 1]
        if len(text) > _MAX_BYTES:
            raise ValueError("it is larger than a description can be")
        return parse(json.loads(text.decode("utf-8")))
    except FileNotFoundError:
        raise SetupError(
            f"{path}: not there; this is not a payload, or it was not written completely: flash again"
        ) from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OSError) as error:
        reason = error.args[0] if isinstance(error, KeyError) else " ".join(str(error).split())
        raise SetupError(f"{path}: damaged ({str(reason)[:200]}); flash again") from None


def parse(table: Any) -> Provision:
    """Check a decoded description.

    Raises:
        ValueError, KeyError, TypeError, AttributeError: if it is wrong; `read` makes one line of them.
    """
    if table["v"] != 1:
        raise ValueError(f"version {table['v']!r} is not known to this setup program")
    files = {_matched(_FLAT, name): _file(entry) for name, entry in table["files"].items()}
    return Provision(
        device=_matched(_FLAT, table["device"]),
        release=_matched(_FLAT, table["release"]),
        python=_matched(re.compile(r"3\.[0-9]{1,3}"), table["python"]),
        machine=_matched(re.compile(r"[a-z0-9_]{1,32}"), table["machine"]),
        unpacked_bytes=_number(table["unpacked_bytes"], 1 << 40),
        clock_s=_number(table["clock_s"], 4_102_444_800),
        files=files,
    )


def _file(entry: Any) -> File:
    if not isinstance(entry["secret"], bool):
        raise TypeError("secret is not true or false")
    return File(_matched(_SHA256, entry["sha256"]), _number(entry["size"], 1 << 40), entry["secret"])


def _matched(pattern: re.Pattern[str], text: Any) -> str:
    if not isinstance(text, str) or pattern.fullmatch(text) is None:
        raise ValueError(f"{str(text)[:40]!r} is not of the form expected")
    return text


def _number(value: Any, most: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= most:
        raise ValueError(f"{str(value)[:40]!r} is not a number between 0 and {most}")
    return value
