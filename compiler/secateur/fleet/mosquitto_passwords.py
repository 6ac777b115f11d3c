"""The password file of mosquitto: one line for each user, in its own format (``mosquitto_passwd``, since 2.0).

``USER:$7$ITERATIONS$SALT$HASH``: PBKDF2 with HMAC-SHA-512 over the password, salt and hash in base64.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
import re

ITERATIONS = 101
"""As mosquitto's own. Passwords here have 256 random bits, which no number of iterations makes harder to guess; the broker
computes this in its only thread at each connection."""
_SALT_BYTES, _HASH_BYTES = 12, 64
_LINE = re.compile(r"([A-Za-z0-9_][A-Za-z0-9._-]{0,63}):\$7\$([0-9]{1,7})\$([A-Za-z0-9+/=]{1,200})\$([A-Za-z0-9+/=]{1,200})")


class PasswordFileError(ValueError):
    """A password file is not as it was written."""


def hash_password(password: str, salt: bytes | None = None) -> str:
    """Return a password as it stands behind ``USER:``."""
    salt = os.urandom(_SALT_BYTES) if salt is None else salt
    return _encode(ITERATIONS, salt, _derive(password, salt, ITERATIONS))


def matches(password: str, hashed: str) -> bool:
    """Return whether a password is the one that was hashed.

    Raises:
        PasswordFileError: if ``hashed`` is not of this format.
    """
    parts = _LINE.fullmatch(f"x:{hashed}")
    if parts is None:
        raise PasswordFileError("not a hash of mosquitto's")
    salt, expected = _decode(parts[3]), _decode(parts[4])
    return hmac.compare_digest(_derive(password, salt, max(1, int(parts[2]))), expected)


def parse_passwords(text: bytes, where: str) -> dict[str, str]:
    """Return user → hash of a file's content.

    Args:
        text: the content.
        where: its name, for the error line.

    Raises:
        PasswordFileError: if a line is something else, or a user comes twice; names the line's number, never its text.
    """
    found: dict[str, str] = {}
    try:
        lines = text.decode("ascii").split("\n")
    except UnicodeDecodeError:
        raise PasswordFileError(
            f"{where}: damaged: not ASCII text; restore it, or remove it and flash all devices again"
        ) from None
    for number, line in enumerate(lines, 1):
        if not line:
            continue
        parts = _LINE.fullmatch(line)
        try:
            whole = (
                parts is not None
                and int(parts[2]) > 0
                and len(_decode(parts[4])) == _HASH_BYTES
                and len(_decode(parts[3])) > 0
            )
        except PasswordFileError:
            whole = False
        if parts is None or not whole:
            raise PasswordFileError(
                f"{where}: line {number} is not USER:$7$ITERATIONS$SALT$HASH; restore the file, or remove the line"
            )
        if parts[1] in found:
            raise PasswordFileError(f"{where}: line {number}: user {parts[1]} comes twice; remove one of the lines")
        found[parts[1]] = line.partition(":")[2]
    return found


def format_passwords(users: dict[str, str]) -> bytes:
    """Return the content of a file."""
    return "".join(f"{user}:{hashed}\n" for user, hashed in sorted(users.items())).encode("ascii")


def _derive(password: str, salt: bytes, iterations: int) -> bytes:
    return hashlib.pbkdf2_hmac("sha512", password.encode(), salt, iterations, _HASH_BYTES)


def _encode(iterations: int, salt: bytes, derived: bytes) -> str:
    return f"$7${iterations}${base64.b64encode(salt).decode()}${base64.b64encode(derived).decode()}"


def _decode(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise PasswordFileError("not base64") from None
