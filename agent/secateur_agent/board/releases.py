"""Environments side by side: a new one is unpacked beside the one that runs, and a link decides."""

from __future__ import annotations

import json
import os
import shutil
import sys
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path

from . import files
from .errors import SetupError
from .layout import Layout

SPARE_BYTES = 64 << 20
"""Room that is left free beside what is unpacked."""
TRIAL_STARTS = 3
"""A new release that was started so often without showing that it works is taken back."""


def unpack(layout: Layout, archive: Path, release: str, python: str, unpacked_bytes: int) -> Path:
    """Make the folder of a release, unless it is there. A folder that is there is complete: it is renamed into place last.

    Args:
        layout: where things lie.
        archive: ``environment.tar.gz`` with ``site-packages`` in it.
        release: its name.
        python: version of Python that it is for, ``"3.11"``.
        unpacked_bytes: room that it takes.

    Raises:
        SetupError: if there is no room, or the archive is damaged.
    """
    folder = layout.releases / release
    if folder.is_dir():
        return folder
    layout.releases.mkdir(parents=True, exist_ok=True)
    draft = layout.releases / f".{release}.draft"
    shutil.rmtree(draft, ignore_errors=True)
    free = shutil.disk_usage(layout.releases).free
    if free < unpacked_bytes + SPARE_BYTES:
        need = (unpacked_bytes + SPARE_BYTES) >> 20
        raise SetupError(f"{layout.opt}: {free >> 20} MB are free, {need} are needed; make room or take a larger card")
    packages = draft / f"lib/python{python}"
    packages.mkdir(parents=True)
    try:
        with tarfile.open(archive, "r:gz") as tar:
            for member in _safe(tar):
                tar.extract(member, packages, set_attrs=False)
                # Neither owner nor time is taken over, and folders would be root's alone.
                os.chmod(packages / member.name, 0o755 if member.isdir() or member.mode & 0o100 else 0o644)
    except (tarfile.TarError, OSError, EOFError, zlib.error) as error:
        shutil.rmtree(draft, ignore_errors=True)
        raise SetupError(f"{archive}: cannot be unpacked: {error}; flash again") from None
    _make_python(draft, python)
    os.sync()
    os.rename(draft, folder)
    files.flush_folder(layout.releases)
    return folder


def _safe(tar: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    for member in tar:
        parts = Path(member.name).parts
        if not (member.isfile() or member.isdir()) or ".." in parts or parts[:1] != ("site-packages",):
            raise tarfile.TarError(f"{member.name!r} is neither a file nor a folder below site-packages")
        yield member


def _make_python(draft: Path, python: str) -> None:
    """A virtual environment by hand (PEP 405): Debian's venv module wants a package that Lite images do not have."""
    executable = os.path.realpath(sys.executable)
    (draft / "bin").mkdir()
    for name in ("python", "python3", f"python{python}"):
        (draft / "bin" / name).symlink_to(executable)
    (draft / "pyvenv.cfg").write_text(f"home = {os.path.dirname(executable)}\ninclude-system-site-packages = false\n")


def current(layout: Layout) -> str:
    """Return the name of the release that runs, '' if there is none."""
    return _target(layout.current)


def previous(layout: Layout) -> str:
    """Return the name of the release before it, '' if there is none; a switch that was cut off leaves both links alike."""
    name = _target(layout.previous)
    return name if name != current(layout) else ""


def proven(layout: Layout) -> str:
    """Return the release to return to from a new one: the current one, or the one before if that is itself on trial."""
    now, note = current(layout), _note(layout)
    before = str(note.get("before", ""))
    on_trial = bool(now) and note.get("release") == now
    return before if on_trial and before and (layout.releases / before).is_dir() else now


def _target(link: Path) -> str:
    try:
        name = os.path.basename(os.readlink(link))
    except OSError:
        return ""
    return name if link.is_dir() else ""


def switch(layout: Layout, release: str, before: str | None = None) -> None:
    """Let a release be the current one.

    Args:
        layout: where things lie.
        release: its name.
        before: the one that is to be called previous from now on, '' for none; the one that was current if None.
    """
    now = current(layout)
    if now == release:
        return
    before = now if before is None else before
    if _target(layout.previous) == release:  # cut off in between, the link to it must not be lost
        files.link(layout.current, f"releases/{release}")
        _call_previous(layout, before)
    else:
        _call_previous(layout, before)
        files.link(layout.current, f"releases/{release}")


def take_back(layout: Layout, release: str) -> None:
    """Return to a release. One that is on trial does not become the previous one: that is what it was before the trial."""
    note = _note(layout)
    before = str(note.get("previous", "")) if note and note.get("release") == current(layout) else None
    switch(layout, release, before if before is None or (layout.releases / before).is_dir() else "")


def _call_previous(layout: Layout, release: str) -> None:
    if release:
        files.link(layout.previous, f"releases/{release}")
    else:
        layout.previous.unlink(missing_ok=True)
        files.flush_folder(layout.opt)


def _note(layout: Layout) -> dict[str, object]:
    """The note of a trial; empty if there is none or it is damaged."""
    try:
        table = json.loads(layout.trial.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return table if isinstance(table, dict) else {}


def begin_trial(layout: Layout, release: str, before: str, watched: bool) -> None:
    """Note that a release has to show that it works, and which one to return to.

    Args:
        layout: where things lie.
        release: the new one.
        before: the one to return to.
        watched: whether this process waits for the end of the trial; for as long as it is there, then.
    """
    watcher, now, note = _watcher(layout, os.getpid()) if watched else "", current(layout), _note(layout)
    kept = str(note.get("previous", "")) if now and note.get("release") == now else previous(layout)
    table = {"release": release, "before": before, "previous": kept, "starts": 0, "watched": watcher}
    files.write(layout.trial, json.dumps(table).encode())


def is_watched(layout: Layout) -> bool:
    """Whether the setup program that began a trial still waits for its end."""
    watched = str(_note(layout).get("watched", ""))
    number = watched.rpartition(" ")[2]
    return number.isascii() and number.isdigit() and watched == _watcher(layout, int(number))


def _watcher(layout: Layout, process: int) -> str:
    """This boot and the number of a process of it; '' if it has ended."""
    try:
        boot = (layout.root / "proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""
    return f"{boot} {process}" if (layout.root / "proc" / str(process)).is_dir() else ""


def end_trial(layout: Layout) -> None:
    """Note that the current release works, or that nothing is tried any more."""
    layout.trial.unlink(missing_ok=True)
    files.flush_folder(layout.opt)


def count_start(layout: Layout) -> str:
    """Count a start of a release on trial.

    Returns:
        The release to return to, if it was started too often; else ''.
    """
    try:
        table = json.loads(layout.trial.read_bytes())
        before, starts = str(table["before"]), int(table["starts"]) + 1
    except FileNotFoundError:
        return ""
    except (OSError, ValueError, KeyError, TypeError):
        end_trial(layout)
        return ""
    if starts > TRIAL_STARTS and (layout.releases / before).is_dir():
        return before
    files.write(layout.trial, json.dumps({**table, "starts": starts}).encode())
    return ""


def prune(layout: Layout) -> None:
    """Remove releases that are neither current nor previous, and drafts."""
    kept = {current(layout), previous(layout)}
    for path in layout.releases.iterdir():
        if path.name not in kept:
            shutil.rmtree(path, ignore_errors=True)
