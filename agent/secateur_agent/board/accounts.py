"""The account that the agent runs under: no password, no shell, no home."""

from __future__ import annotations

import subprocess

from .errors import SetupError
from .layout import USER, Layout


def is_there(layout: Layout) -> bool:
    """Whether there is an account of this name; none is ever needed where this is not a running system."""
    return not layout.live or _numbers() is not None


def ensure(layout: Layout) -> tuple[int, int] | None:
    """Make the account unless it is there, and what is missing of it if it was cut off while it was made.

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
    # useradd replaces one file after the other: a power cut in between leaves the user without its group.
    user, group = _user(), _group()
    if user is not None:
        _run(["groupadd", "--gid", str(user[1]), USER])
    else:
        command = ["useradd", "--system", "--no-create-home", "--home-dir", "/nonexistent", "--shell", "/usr/sbin/nologin"]
        _run([*command, *(["--user-group"] if group is None else ["--gid", USER]), USER])
    made = _numbers()
    if made is None:
        raise SetupError(f"account {USER}: was made but is not found; check /etc/nsswitch.conf")
    return made


def remove(layout: Layout) -> None:
    """Remove the account."""
    if layout.live and _user() is not None:
        _run(["userdel", USER])
    if layout.live and _group() is not None:  # the user's goes with it, as a rule
        _run(["groupdel", USER])


def _numbers() -> tuple[int, int] | None:
    user, group = _user(), _group()
    return None if user is None or group is None else (user[0], group)


def _user() -> tuple[int, int] | None:
    """Its number and that of its group."""
    import pwd

    try:
        found = pwd.getpwnam(USER)
    except KeyError:
        return None
    return found.pw_uid, found.pw_gid


def _group() -> int | None:
    import grp

    try:
        return grp.getgrnam(USER).gr_gid
    except KeyError:
        return None


def _run(command: list[str]) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise SetupError(f"{command[0]}: {error}") from None
    if done.returncode:
        raise SetupError(f"{' '.join(command)}: {' '.join(done.stderr.split())[:300]}")
