"""Flashes the machine that this runs on: the same payload and the same setup program as on a board."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from secateur.flash.errors import FlashError
from secateur.flash.payload import BOARD_PYTHON, INSTALLED_PROGRAM, SETUP_PROGRAM, Payload
from secateur.flash.target import PROBE, Target, check_systemd, target_of

INSTALLED = Path(INSTALLED_PROGRAM)


def local_target() -> Target:
    """Return what this machine is, by its system's Python.

    Raises:
        FlashError: if it has none.
        secateur.flash.target.TargetError: if the agent cannot run here.
    """
    done = _run([BOARD_PYTHON, "-I", "-c", PROBE])
    try:
        return target_of(json.loads(done.stdout), "this machine")
    except (json.JSONDecodeError, AttributeError):
        raise FlashError(f"{BOARD_PYTHON}: answers with something else: {done.stderr.strip()[-200:]!r}") from None


def check_service() -> None:
    """Check that the agent would be started here.

    Raises:
        secateur.flash.target.TargetError: if systemd does not run.
    """
    check_systemd({"systemd": os.path.isdir("/run/systemd/system")}, "this machine")


def local_device() -> str:
    """Return the id of the device that this machine is already; '' if none is installed."""
    if not INSTALLED.is_file():
        return ""
    try:
        return str(json.loads(_run([BOARD_PYTHON, "-I", str(INSTALLED), "status"]).stdout)["device"])
    except (ValueError, KeyError, TypeError):
        return ""


def install(payload: Payload, told: Callable[[str], None]) -> None:
    """Install a payload on this machine; asks for the password of sudo if this is not root.

    Raises:
        FlashError: if the setup program refuses.
    """
    with tempfile.TemporaryDirectory(prefix="secateur-flash-") as folder:
        payload.write(Path(folder))
        run_setup(Path(folder) / SETUP_PROGRAM, ["install", folder], told)


def run_setup(program: Path, arguments: Sequence[str], told: Callable[[str], None]) -> str:
    """Run the setup program as root; tell each line; return the last one.

    Raises:
        FlashError: if it fails, with its own line.
    """
    command = [*([] if os.geteuid() == 0 else ["sudo"]), BOARD_PYTHON, "-I", str(program), *arguments]
    try:
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            assert process.stderr is not None
            last = ""
            for line in process.stdout:
                last = line.strip()
                told(last)
            complaint = process.stderr.read().strip().splitlines()
    except OSError as error:
        raise FlashError(f"{command[0]}: {error.strerror}; run this as root") from None
    if process.returncode:
        raise FlashError((complaint or ["setup failed"])[-1].removeprefix("secateur-setup: failed: "))
    return last


def _run(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise FlashError(f"{command[0]}: {error}; the system's own Python is needed: install python3") from None
