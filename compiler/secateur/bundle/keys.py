"""The host's signing keys.

Development mode: all keys lie in one folder, readable by its owner alone, next to the trust root that devices get.
"""

from __future__ import annotations

import base64
import os
from dataclasses import dataclass
from pathlib import Path

import msgspec
from nacl.signing import SigningKey

from secateur_agent.protocol.envelope import Role, seal
from secateur_agent.trust import TrustRoot, load_root

ROLES: tuple[Role, ...] = ("bundle", "recut", "command")


class KeysError(ValueError):
    """Keys are missing, unreadable or damaged."""


@dataclass(frozen=True)
class Keys:
    """Signing keys by role, and the folder they came from."""

    folder: Path
    signing: dict[Role, SigningKey]

    @property
    def root_path(self) -> Path:
        """The trust root that belongs to these keys; devices get a copy."""
        return self.folder / "root.json"

    @property
    def root(self) -> TrustRoot:
        """The trust root that belongs to these keys."""
        return load_root(self.root_path)

    def seal(self, role: Role, payload: object) -> bytes:
        """Sign ``payload`` in ``role`` and return the encoded envelope.

        Raises:
            KeysError: if the private key of this role is not in the folder.
        """
        if role not in self.signing:
            raise KeysError(f"keys {self.folder}: the private key {role}.key is not there; this needs it")
        return seal(role, payload, self.signing[role])


def default_folder() -> Path:
    """Where keys lie unless told otherwise: ``$XDG_CONFIG_HOME/secateur/keys``."""
    config = os.environ.get("XDG_CONFIG_HOME") or str(Path.home() / ".config")
    return Path(config) / "secateur" / "keys"


def create_keys(folder: Path) -> Keys:
    """Create one key per role and the trust root (development mode: all in one folder).

    Raises:
        KeysError: if the folder holds keys already or cannot be written.
    """
    if (folder / "root.json").exists():
        raise KeysError(f"keys {folder}: there are keys already; remove the folder by hand if you mean to replace them")
    signing = {role: SigningKey.generate() for role in ROLES}
    public = {role: (base64.b64encode(bytes(key.verify_key)).decode(),) for role, key in signing.items()}
    root = TrustRoot(
        version=1,
        bundle=public["bundle"],
        recut=public["recut"],
        command=public["command"],
        note="development mode: all keys lie in one folder on one host",
    )
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for role, key in signing.items():
            descriptor = os.open(folder / f"{role}.key", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(base64.b64encode(bytes(key)) + b"\n")
        (folder / "root.json").write_bytes(msgspec.json.format(msgspec.json.encode(root)) + b"\n")
    except OSError as error:
        raise KeysError(f"keys {folder}: cannot be written: {error.strerror}") from None
    return Keys(folder, signing)


def load_keys(folder: Path) -> Keys:
    """Read the keys of a folder; a key that is not there (kept offline) is left out.

    Raises:
        KeysError: if there is no trust root, or a key is damaged.
    """
    if not (folder / "root.json").exists():
        raise KeysError(f"keys {folder}: none there; create them with 'secateur keys init --keys {folder}'")
    signing: dict[Role, SigningKey] = {}
    for role in ROLES:
        path = folder / f"{role}.key"
        if not path.exists():
            continue
        try:
            signing[role] = SigningKey(base64.b64decode(path.read_bytes(), validate=False))
        except (OSError, ValueError, TypeError) as error:
            raise KeysError(f"keys {path}: damaged or unreadable ({error}); restore it from a copy") from None
    return Keys(folder, signing)


def load_or_create_keys(folder: Path) -> Keys:
    """Read the keys of a folder, or create them there (development mode)."""
    return load_keys(folder) if (folder / "root.json").exists() else create_keys(folder)
