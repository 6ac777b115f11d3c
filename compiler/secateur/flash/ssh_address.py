"""How a board is named on the command line, and how to log in to it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from secateur.flash.errors import FlashError

_HOST = re.compile(
    r"(?:(?P<user>[A-Za-z_][A-Za-z0-9._-]{0,31})@)?(?P<address>\[[0-9A-Fa-f:.%a-z]+\]|[A-Za-z0-9._-]{1,253})(?::(?P<port>[0-9]{1,5}))?"
)


@dataclass(frozen=True)
class Address:
    """``user@host:port``; '' and 0 are what SSH's own configuration says."""

    host: str
    user: str = ""
    port: int = 0

    @classmethod
    def parse(cls, text: str) -> Address:
        """Parse ``[user@]host[:port]``; an IPv6 address stands in brackets.

        Raises:
            FlashError: if it is something else.
        """
        found = _HOST.fullmatch(text)
        port = int(found["port"] or 0) if found else 0
        if found is None or text.startswith("-") or port > 65535 or (found["port"] and port == 0):
            raise FlashError(f"host {text[:80]!r}: write it as host, user@host or user@host:port")
        return cls(found["address"].strip("[]"), found["user"] or "", port)

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{f'{self.user}@' if self.user else ''}{host}{f':{self.port}' if self.port else ''}"


@dataclass(frozen=True)
class Login:
    """How to log in. Without any of these, SSH's own keys, agent and configuration are used.

    Args:
        key_file: private key.
        password: for the login, and for ``sudo`` unless that has its own.
        sudo_password: for ``sudo``.
        accept_new: take the key of a host that was never seen before, and say which.
        known_hosts: file of known host keys; None: the user's own.
    """

    key_file: Path | None = None
    password: str = ""
    sudo_password: str = ""
    accept_new: bool = False
    known_hosts: Path | None = None
