"""The command line of the setup program. Every error is one line, in the log and in the payload's status file too."""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TextIO

from . import files, provision, record, releases, service
from .around_start import after_start, before_start
from .errors import SetupError
from .install import install, roll_back
from .layout import Layout
from .removal import remove


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    parser = argparse.ArgumentParser(prog="secateur-setup", description=__doc__)
    parser.add_argument("--root", type=Path, default=Path("/"), help="another root folder; no account or service is touched")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    command = commands.add_parser("install", help="install a payload, or upgrade to it")
    command.add_argument("folder", type=Path)
    command.add_argument("--no-wait", action="store_true", help="do not wait until the agent is healthy")
    commands.add_parser("rollback", help="return to the release before this one")
    command = commands.add_parser("remove", help="remove everything")
    command.add_argument("--keep-state", action="store_true", help="keep the device's key, models and samples")
    commands.add_parser("status", help="what is installed, as JSON")
    commands.add_parser("before-start", help="what the service runs before the agent")
    commands.add_parser("after-start", help="what the service runs once the agent is ready")
    options = parser.parse_args(arguments)
    layout = Layout(options.root.absolute())
    os.umask(0o022)  # the agent's account reads what root unpacks, whatever the login's own habit is
    try:
        if options.command == "status":
            print(json.dumps(status(layout)))
            return 0
        # A start may be what an install waits for, so it must not wait for the install.
        with contextlib.nullcontext() if options.command.endswith("-start") else alone(layout):
            _run(options, layout)
    except (SetupError, OSError) as error:
        _tell(layout, f"failed: {' '.join(str(error).split())}", sys.stderr)
        if options.command == "install":
            _leave_status(options.folder, "failed", " ".join(str(error).split()))
        return 1
    return 0


def _run(options: argparse.Namespace, layout: Layout) -> None:
    def say(line: str) -> None:
        _tell(layout, line, sys.stdout)

    if options.command == "install":
        wait = not options.no_wait and not service.is_booting(layout)
        done = install(layout, options.folder.absolute(), say, wait)
        say(done)
        _leave_status(options.folder, "installed", done)
    elif options.command == "rollback":
        say(roll_back(layout, say))
    elif options.command == "before-start":
        before_start(layout, say)
    elif options.command == "after-start":
        after_start(layout)
    else:
        for each in remove(layout, options.keep_state):
            print(f"removed {each}")


def status(layout: Layout) -> dict[str, str]:
    """Return what is installed."""
    device = str(record.read(layout).get("device", ""))
    return {"device": device, "release": releases.current(layout), "previous": releases.previous(layout)}


@contextlib.contextmanager
def alone(layout: Layout) -> Iterator[None]:
    """One setup at a time: first boot and a person with SSH may meet."""
    folder = layout.root / "run"
    if not folder.is_dir():
        yield
        return
    path = folder / "secateur-setup.lock"
    while True:
        with path.open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not _is_the_same(lock.fileno(), path):
                continue  # whoever had it removed it: another one may hold the next
            try:
                yield
            finally:
                path.unlink(missing_ok=True)
            return


def _is_the_same(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def _tell(layout: Layout, line: str, to: TextIO) -> None:
    try:
        print(f"secateur-setup: {line}", file=to, flush=True)
    except OSError:  # who listened has gone; what has begun is finished all the same
        os.dup2(os.open(os.devnull, os.O_WRONLY), to.fileno())
    with contextlib.suppress(OSError):
        if layout.opt.is_dir() or layout.log.parent.is_dir():
            with layout.log.open("a", encoding="utf-8") as log:
                log.write(f"{time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())} {line}\n")


def _leave_status(folder: Path, how: str, text: str) -> None:
    """Into the payload's folder, where a person who takes the card out can read it."""
    with contextlib.suppress(OSError):
        files.write(folder / provision.STATUS, json.dumps({"status": how, "text": text}).encode() + b"\n")
