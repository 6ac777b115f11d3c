"""Things that take long to build, kept in build/boards under a digest of what they are built from."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

HERE = Path(__file__).parent
PROJECT = HERE.parent.parent
BUILD = PROJECT / "build" / "boards"
# One date for all that is written into images: the same inputs then give the same bytes.
EPOCH_S = 1_750_000_000


def cached(name: str, inputs: Sequence[Path | str], build: Callable[[Path], None]) -> Path:
    """The folder that `build` fills, from the cache if the inputs are the same.

    Args:
        name: what it is; an older one of the same name is removed.
        inputs: files and folders whose content, and texts, that decide the result.
        build: fills the empty folder it is given.

    Returns:
        The folder.
    """
    cache = BUILD / "cache"
    folder = cache / f"{name}-{_digest(inputs)[:16]}"
    if folder.is_dir():
        return folder
    cache.mkdir(parents=True, exist_ok=True)
    draft = cache / f".{name}.{os.getpid()}"
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir()
    say(f"{name}: building")
    started = time.monotonic()
    try:
        build(draft)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise
    for old in cache.glob(f"{name}-" + "?" * 16):
        shutil.rmtree(old)
    draft.rename(folder)
    say(f"{name}: built in {time.monotonic() - started:.0f} s")
    return folder


def say(line: str) -> None:
    """A line of progress for whoever waits."""
    print(f"[boards] {line}", file=sys.stderr, flush=True)


def run(*command: str | Path, cwd: Path | None = None, stdin: str | None = None) -> str:
    """Run a program gently, with the time of files fixed.

    Returns:
        What it printed.

    Raises:
        RuntimeError: it failed; the end of what it wrote is in the message.
    """
    environment = {
        **os.environ,
        "SOURCE_DATE_EPOCH": str(EPOCH_S),
        "LC_ALL": "C.UTF-8",
        "MTOOLS_SKIP_CHECK": "1",
        "TZ": "UTC",
    }
    done = subprocess.run(
        ["nice", "-n", "10", *map(str, command)], cwd=cwd, input=stdin, env=environment, capture_output=True, text=True
    )
    if done.returncode != 0:
        tail = "\n".join((done.stdout + done.stderr).splitlines()[-25:])
        raise RuntimeError(f"{command[0]} ended with {done.returncode}:\n{tail}")
    return done.stdout


def _digest(inputs: Sequence[Path | str]) -> str:
    digest = hashlib.sha256()
    for item in inputs:
        if isinstance(item, str):
            digest.update(b"text\0" + item.encode() + b"\0")
            continue
        for file in sorted(item.rglob("*")) if item.is_dir() else [item]:
            if file.is_file() and "__pycache__" not in file.parts:
                name = str(file.relative_to(item)) if item.is_dir() else file.name
                digest.update(f"file\0{name}\0{file.stat().st_mode & 0o111:o}\0".encode() + file.read_bytes() + b"\0")
    return digest.hexdigest()
