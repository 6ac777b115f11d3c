"""Runs pip for another system than this one; what it complains of becomes one line."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from secateur.flash.target import Target

_LIMIT_S = 1800.0


class PipError(ValueError):
    """pip could not get or install what was asked for."""


def download(requirements: Sequence[str], target: Target, folder: Path, find_links: Sequence[Path]) -> None:
    """Download wheels, with all that they need, from the package index that pip is configured for.

    Raises:
        PipError: if a package has no wheel for the system, or the index cannot be reached.
    """
    _run(["download", "--dest", str(folder), *_for(target), *_links(find_links), *requirements], target)


def install(requirements: Sequence[str], target: Target, into: Path, find_links: Sequence[Path]) -> None:
    """Unpack wheels of folders, with all that they need, into a folder; nothing is fetched.

    Raises:
        PipError: if one is missing.
    """
    options = ["--target", str(into), "--no-index", "--no-compile", "--no-warn-conflicts", "--upgrade"]
    # pip checks a wheel's Python against the one it runs on; they were chosen for the board's when they were downloaded.
    options.append("--ignore-requires-python")
    _run(["install", *options, *_for(target), *_links(find_links), *requirements], target)


def _for(target: Target) -> list[str]:
    platforms = [option for tag in target.platforms() for option in ("--platform", tag)]
    return ["--only-binary=:all:", "--implementation", "cp", "--python-version", target.python, *platforms]


def _links(folders: Sequence[Path]) -> list[str]:
    return [option for folder in folders for option in ("--find-links", str(folder))]


def _run(arguments: Sequence[str], target: Target) -> None:
    command = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "--no-input", *arguments]
    # A constraint file is meant for this machine's own packages; the board's are another matter.
    environment = {key: value for key, value in os.environ.items() if key != "PIP_CONSTRAINT"}
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_LIMIT_S, env=environment, check=False)
    except subprocess.TimeoutExpired:
        raise PipError(f"pip did not end within {_LIMIT_S:.0f} s; check the connection to the package index") from None
    if done.returncode:
        raise PipError(explain(done.stderr, target))


def explain(complaint: str, target: Target) -> str:
    """Say in one line what pip complained of, and how to mend it.

    Args:
        complaint: what pip wrote to standard error.
        target: what the wheels were for.
    """
    if "No module named pip" in complaint:
        return "pip is not in this environment; install it with 'python -m ensurepip'"
    missing = re.search(r"No matching distribution found for (\S+)", complaint)
    if missing is not None and not _unreachable(complaint):
        return (
            f"{missing[1]}: no wheel for Python {target.python} on {target.machine} with glibc {target.glibc}; "
            "put one into a folder and give it with --extra-wheels, or take a profile with another runtime"
        )
    if _unreachable(complaint):
        return (
            "the package index cannot be reached; on a machine that reaches it run 'secateur wheelhouse build', "
            "copy its folder and give it with --wheelhouse"
        )
    lines = (
        [line for line in complaint.splitlines() if line.startswith("ERROR:")]
        or complaint.splitlines()
        or ["no reason given"]
    )
    return f"pip: {lines[-1].removeprefix('ERROR:').strip()[:500]}"


def _unreachable(complaint: str) -> bool:
    signs = ("NewConnectionError", "Failed to establish", "NameResolutionError", "ConnectTimeout", "Network is unreachable")
    return any(sign in complaint for sign in signs)
