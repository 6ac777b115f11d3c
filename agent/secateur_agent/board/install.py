"""Installs a payload: the first time, again after a power cut, or over what is there, which serves until the last step."""

from __future__ import annotations

import hashlib
import os
import platform
from collections.abc import Callable
from pathlib import Path

from . import accounts, clock, files, provision, record, releases, service
from .errors import SetupError
from .layout import UNIT, Layout
from .provision import Provision

PROGRAM = "secateur-setup.pyz"
TOKEN = "enrolment-token"
"""The agent removes it once it is enrolled, so it lies where the agent may write. It is not put back when that is done."""
_KEPT = ("agent.toml", "profile.toml", "root.json", "ca.pem", UNIT)
"""Files that belong to a release: a return to it brings them back. Secrets do not: the host knows the newest ones only."""
_OLDEST = (3, 10)
Say = Callable[[str], None]


def install(layout: Layout, folder: Path, say: Say, wait: bool) -> str:
    """Install a payload.

    Args:
        layout: where things lie.
        folder: the payload.
        say: told of each step.
        wait: whether to wait until the agent is healthy; if another release ran before, it is taken back when it is not.

    Returns:
        What was done, in one line.

    Raises:
        SetupError: if it cannot be installed. What ran before runs on.
    """
    wanted = provision.read(folder)
    _check_system(wanted)
    _check_files(layout, folder, wanted)
    if clock.set_floor(layout, wanted.clock_s):
        say("the clock was behind and is set to when this payload was made")
    layout.opt.mkdir(parents=True, exist_ok=True)
    if not layout.program.exists():
        _put(layout, PROGRAM, (folder / PROGRAM).read_bytes(), None)  # first, so that whatever comes next can be removed
    if not accounts.is_there(layout):
        record.note(layout, account_made=True)
    owner = accounts.ensure(layout)
    say(f"unpacking {wanted.release}")
    environment = folder / provision.ENVIRONMENT
    release = releases.unpack(layout, environment, wanted.release, wanted.python, wanted.unpacked_bytes)
    _keep_for_return(release, folder, wanted)
    before = releases.current(layout)
    served = bool(before) and wait and service.has_model(layout)
    # At a first boot it lies on the boot partition, and stays there.
    record.note(
        layout, device=wanted.device, clock_s=wanted.clock_s, **({} if wait else {"payload": str(folder.absolute())})
    )
    proven = releases.proven(layout)
    # Before anything is placed: if it is cut off now, the old release may not start with the new one's configuration.
    if proven and proven != wanted.release:
        releases.begin_trial(layout, wanted.release, proven, watched=wait)
    else:
        releases.end_trial(layout)
    _place(layout, folder, wanted, owner)
    releases.switch(layout, wanted.release, proven if proven != wanted.release else None)
    service.enable(layout)
    _wipe_secrets(folder, wanted)
    service.restart(layout, wait)
    problem = service.wait_healthy(layout, served, say) if wait else ""
    if wait and releases.current(layout) != wanted.release:  # by what runs before each start
        raise SetupError(f"{wanted.release}: it did not start; {releases.current(layout)} runs again")
    if problem and layout.trial.exists():
        go_back(layout, proven, say)
        raise SetupError(f"{wanted.release}: {problem}; {proven} runs again")
    if problem:
        raise SetupError(f"{wanted.release}: {problem}")
    if wait:
        releases.end_trial(layout)
    releases.prune(layout)
    return f"{wanted.device}: {wanted.release} is installed" + (
        f" in place of {before}" if before not in ("", wanted.release) else ""
    )


def go_back(layout: Layout, release: str, say: Say, start: bool = True) -> None:
    """Return to a release that is still there, with the configuration that it had; ``start`` it unless it starts now."""
    kept = layout.releases / release / "board"
    for name in _KEPT:
        if (kept / name).is_file():
            _put(layout, name, (kept / name).read_bytes(), _owner_of(layout))
    releases.take_back(layout, release)
    releases.end_trial(layout)
    service.enable(layout)
    if start:
        service.restart(layout, wait=True)
    say(f"returned to {release}")


def roll_back(layout: Layout, say: Say) -> str:
    """Return to the release before the current one, because a person wants it.

    Raises:
        SetupError: if there is none.
    """
    release, before = releases.previous(layout), releases.current(layout)
    if not release:
        raise SetupError(f"{layout.opt}: there is no release before the one that runs")
    go_back(layout, release, say)
    problem = service.wait_healthy(layout, False, say)
    if problem:
        go_back(layout, before, say)
        raise SetupError(f"{release}: {problem}; {before} runs again")
    return f"{release} runs again"


def _check_system(wanted: Provision) -> None:
    found = platform.python_version_tuple()
    if (int(found[0]), int(found[1])) < _OLDEST:
        raise SetupError(f"Python {found[0]}.{found[1]} is too old here; the agent needs {_OLDEST[0]}.{_OLDEST[1]} or later")
    if wanted.python != f"{found[0]}.{found[1]}":
        raise SetupError(
            f"the payload is for Python {wanted.python}, this system has {found[0]}.{found[1]}; flash again for it"
        )
    if wanted.machine != platform.machine():
        raise SetupError(
            f"the payload is for {wanted.machine}, this is {platform.machine()}; take a 64-bit image, or flash again"
        )


def _check_files(layout: Layout, folder: Path, wanted: Provision) -> None:
    """Every file is there and whole; a secret may have been moved by a run that was cut off."""
    for name, file in wanted.files.items():
        places = [folder / name] + ([layout.config / name] if file.secret and name != TOKEN else [])
        if name == provision.ENVIRONMENT and (layout.releases / wanted.release).is_dir():
            continue
        if name == TOKEN and releases.current(layout) == wanted.release:
            continue  # the agent has run since, and removes it once it is enrolled
        if name == TOKEN and _token_is_moved(layout, file.sha256):
            continue
        try:
            if not any(place.is_file() and files.sha256(place) == file.sha256 for place in places):
                there = "is not what the host wrote" if places[0].exists() else "is missing"
                raise SetupError(f"{places[0]}: {there}; the card or the transfer is damaged: flash again")
        except OSError as error:
            raise SetupError(f"{places[0]}: cannot be read: {error.strerror}; the card is damaged") from None


def _token_is_moved(layout: Layout, sha256: str) -> bool:
    try:
        return hashlib.sha256(files.read_foreign(layout.state / TOKEN, 4096)).hexdigest() == sha256
    except OSError:
        return False


def _keep_for_return(release: Path, folder: Path, wanted: Provision) -> None:
    kept = release / "board"
    kept.mkdir(mode=0o700, exist_ok=True)
    for name in _KEPT:
        if name in wanted.files:
            files.write(kept / name, (folder / name).read_bytes())


def _place(layout: Layout, folder: Path, wanted: Provision, owner: tuple[int, int] | None) -> None:
    layout.config.mkdir(parents=True, exist_ok=True)
    layout.state.mkdir(parents=True, exist_ok=True)
    if owner is not None:
        os.chown(layout.config, 0, owner[1])
        os.chown(layout.state, *owner)
    layout.config.chmod(0o750)
    layout.state.chmod(0o700)
    for name, file in wanted.files.items():
        # A secret may be half wiped by a run that was cut off; then it is in its place already.
        if name != provision.ENVIRONMENT and (folder / name).is_file() and files.sha256(folder / name) == file.sha256:
            _put(layout, name, (folder / name).read_bytes(), owner)


def _put(layout: Layout, name: str, content: bytes, owner: tuple[int, int] | None) -> None:
    if name == UNIT:
        layout.unit.parent.mkdir(parents=True, exist_ok=True)
        files.write(layout.unit, content)
    elif name == PROGRAM:
        files.write(layout.program, content, 0o755)
    elif name == TOKEN:
        files.write(layout.state / name, content, 0o600, owner)
    else:
        files.write(layout.config / name, content, 0o640, (0, owner[1]) if owner else None)


def _owner_of(layout: Layout) -> tuple[int, int] | None:
    if not layout.live:
        return None
    found = layout.state.stat()
    return found.st_uid, found.st_gid


def _wipe_secrets(folder: Path, wanted: Provision) -> None:
    for name, file in wanted.files.items():
        if file.secret:
            files.wipe(folder / name)
