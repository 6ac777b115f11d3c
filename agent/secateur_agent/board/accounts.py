"""The account that the agent runs under: no password, no shell, no home."""

from __future__ import annotations

import subprocess

from .errors import SetupError
from .layout import USER, Layout


def is_there(layout: Layout) -> bool:
    """Whether there is an account of this name; none is ever needed where this is not a running system."""
    return not layout.live or _numbers() is not None


def ensure(layout: Layout) -> tuple[int, int] | None:
    """Make the account unless it is there.

    Returns:
        Its user and group numbers; None if this is not a running system.

    Raises:
        SetupError: if it cannot be made.
    """
    if not layout.live:
        return None
    known = _numbers()
    if known is not None:
        return known
    command = ["useradd", "--system", "--user-group", "--no-create-home", "--home-dir", "/nonexistent"]
    _run([*command, "--shell", "/usr/sbin/nologin", USER])
    made = _numbers()
    if made is None:
        raise SetupError(f"account {USER}: was made but is not found; check /etc/nsswitch.conf")
    return made


def remove(layout: Layout) -> None:
    """Remove the account."""
    if layout.live and _numbers() is not None:
        _run(["userdel", USER])


def _numbers() -> tuple[int, int] | None:
    import grp
    import pwd

    try:
        return pwd.getpwnam(USER).pw_uid, grp.getgrnam(USER).gr_gid
    except KeyError:
        return None


def _run(command: list[str]) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise SetupError(f"{command[0]}: {error}") from None
    if done.returncode:
        raise SetupError(f"{' '.join(command)}: {' '.join(done.stderr.split())[:300]}")
