"""The trust root: a small JSON file, put on the device when it is flashed, that names the keys of each role.

Callers use only `load_root` and `open_signed`, so that another scheme (TUF) can take this file's place.
"""

from __future__ import annotations

import base64
import binascii
from pathlib import Path
from typing import Annotated, Literal, TypeVar

import msgspec

from secateur_agent.protocol.envelope import Role, keyid, open_envelope
from secateur_agent.protocol.messages import MessageError, decode

M = TypeVar("M")


class TrustError(ValueError):
    """The trust root cannot be used, or something is not signed as it must be."""


class TrustRoot(msgspec.Struct, kw_only=True, frozen=True):
    """Public keys (base64, 32 bytes each) by role.

    ``bundle`` keys are kept offline and sign bundles. ``recut`` keys are online and may sign only rungs cut from a
    bundle that a ``bundle`` key signed. ``command`` keys sign desired shadows and commands.
    """

    v: Literal[1] = 1
    version: Annotated[int, msgspec.Meta(ge=1)]
    bundle: tuple[str, ...]
    recut: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    note: str = ""

    def keys(self, role: Role) -> dict[str, bytes]:
        """Return keyid → public key of the keys that hold ``role``.

        Raises:
            TrustError: if a key is not 32 bytes in base64.
        """
        found: dict[str, bytes] = {}
        holders = {"bundle": self.bundle, "recut": self.recut, "command": self.command}
        for text in holders.get(role, ()):
            try:
                public = base64.b64decode(text, validate=True)
            except (binascii.Error, ValueError):
                public = b""
            if len(public) != 32:
                raise TrustError(f"trust root: {role} key {text[:20]!r} is not a 32-byte Ed25519 key in base64")
            found[keyid(public)] = public
        return found


def load_root(path: Path) -> TrustRoot:
    """Read a trust root.

    Raises:
        TrustError: if the file cannot be read or is not a trust root.
    """
    try:
        root = decode(path.read_bytes(), TrustRoot, str(path))
    except OSError as error:
        raise TrustError(f"trust root {path}: {error.strerror}; copy it from the host ('secateur keys show')") from None
    except MessageError as error:
        raise TrustError(f"trust root {error}") from None
    for role in ("bundle", "recut", "command"):
        root.keys(role)
    return root


def open_signed(root: TrustRoot, role: Role, data: bytes, kind: type[M], what: str) -> M:
    """Verify an envelope against the trust root and decode what was signed.

    Args:
        root: the trust root.
        role: the role that the signer must hold.
        data: the encoded envelope.
        kind: the Struct that was signed.
        what: name for the error line.

    Raises:
        TrustError: if the signature or the role is wrong.
        MessageError: if what was signed is malformed.
    """
    try:
        signed = open_envelope(role, data, root.keys(role), what)
    except MessageError as error:
        raise TrustError(str(error)) from None
    return decode(signed, kind, what)
