"""``host.json`` in the state folder: where the running controller listens, and the token for it; for its owner alone."""

from __future__ import annotations

import json
import os
import secrets
from pathlib import Path
from typing import NamedTuple


class HostFileError(ValueError):
    """The controller cannot be found: none was started with this state folder, or its file is damaged."""


class Host(NamedTuple):
    """How to reach a controller."""

    url: str
    token: str


def default_state() -> Path:
    """Where the controller keeps its state unless told otherwise: ``$XDG_STATE_HOME/secateur/host``."""
    state = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(state) / "secateur" / "host"


def ensure_token(state: Path) -> str:
    """Return the API token of a state folder; made at the first start, readable by its owner alone."""
    path = state / "token"
    if not path.exists():
        _write_private(path, secrets.token_urlsafe(32) + "\n")
    return path.read_text().strip()


def write_host(state: Path, host: Host) -> None:
    """Write ``host.json``."""
    _write_private(state / "host.json", json.dumps(host._asdict(), indent=1) + "\n")


def remove_host(state: Path) -> None:
    """Remove ``host.json``: nobody listens any more."""
    (state / "host.json").unlink(missing_ok=True)


def read_host(state: Path) -> Host:
    """Read ``host.json``.

    Raises:
        HostFileError: if there is none or it is damaged.
    """
    path = state / "host.json"
    try:
        table = json.loads(path.read_text())
        return Host(str(table["url"]), str(table["token"]))
    except FileNotFoundError:
        raise HostFileError(f"no controller runs with state folder {state}; start one with 'secateur serve'") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise HostFileError(f"{path}: damaged or unreadable ({error}); start 'secateur serve' again") from None


def _write_private(path: Path, text: str) -> None:
    part = path.with_name(path.name + ".part")
    part.unlink(missing_ok=True)
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
