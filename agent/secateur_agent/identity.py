"""Who this device is: a key that never leaves it, and an id for each start of the agent."""

from __future__ import annotations

import base64
import binascii
import os
from pathlib import Path

from nacl.signing import SigningKey

from secateur_agent.store import write_atomic


class IdentityError(ValueError):
    """The device key cannot be used."""


def device_key(path: Path) -> SigningKey:
    """Return the device's Ed25519 key; create it at the first start.

    Args:
        path: the file that keeps it: 32 bytes in base64, readable by its owner alone.

    Raises:
        IdentityError: if the file is there but damaged. It is not replaced by itself: the host knows the old key.
    """
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        key = SigningKey.generate()
        write_atomic(path, base64.b64encode(bytes(key)) + b"\n", mode=0o600)
        return key
    except OSError as error:
        raise IdentityError(f"device key {path}: cannot be read: {error.strerror}") from None
    try:
        return SigningKey(base64.b64decode(text.strip(), validate=True))
    except (binascii.Error, ValueError):
        raise IdentityError(
            f"device key {path}: damaged; restore it, or remove it to get a new one and enrol the device again"
        ) from None


def new_boot_id() -> str:
    """Return an id for this start of the agent; sample numbers begin at 1 under each."""
    return os.urandom(6).hex()
