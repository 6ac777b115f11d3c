"""The agent's environment for a board: the packages of one Python in one archive, unpacked there in seconds, without pip."""

from __future__ import annotations

import gzip
import hashlib
import importlib
import importlib.metadata
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import secateur_agent
from secateur.flash import pip
from secateur.flash.requirements import AGENT, OURS
from secateur.flash.target import Target, host_python
from secateur.flash.wheelhouse import Wheelhouse
from secateur_agent.store.blobs import file_digest

_PACKAGES = {AGENT: "secateur_agent", "secateur-profiles": "secateur_profiles"}
_LEFT_OUT = ("__pycache__", "bin", "tests", "test")
"""Folders that no board needs: scripts name the Python of this machine, and tests of packages are a fifth of the bytes."""
_LEVEL = 6


class EnvironmentBuildError(ValueError):
    """An environment cannot be made or written."""


@dataclass(frozen=True)
class Environment:
    """An archive of packages. ``release`` names it: the agent's version, Python, and a digest of the content."""

    archive: Path
    release: str
    target: Target
    runtime: str
    unpacked_bytes: int


def build_environment(wheelhouse: Wheelhouse, folder: Path) -> Environment:
    """Return the archive for a wheelhouse and the agent as it is installed here; make it if it is not there yet.

    The archive has ``site-packages`` as its only folder, entries in order, without owners or times: the same content is the
    same bytes. If this Python, or one on the path, is of the board's version, the modules are compiled already.

    Args:
        wheelhouse: all wheels that are needed.
        folder: where archives are kept.

    Raises:
        EnvironmentBuildError: if the archive cannot be written.
        secateur.flash.pip.PipError: if the wheels do not fit together.
    """
    key = _key(wheelhouse)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise EnvironmentBuildError(f"{folder}: cannot be written: {error.strerror}") from None
    known = next(folder.glob(f"*-{key}.tar.gz"), None)
    size = 0 if known is None else _unpacked_bytes(known)
    if known is None or not size:
        known = _make(wheelhouse, folder, key)
        size = _unpacked_bytes(known)
    release = known.name.removesuffix(f"-{key}.tar.gz")
    return Environment(known, release, wheelhouse.target, wheelhouse.record.runtime, size)


def _unpacked_bytes(archive: Path) -> int:
    """What was noted beside the archive; 0 if that is lost or damaged."""
    try:
        return int(archive.with_suffix("").with_suffix(".size").read_text())
    except (OSError, ValueError):
        return 0


def _make(wheelhouse: Wheelhouse, folder: Path, key: str) -> Path:
    with tempfile.TemporaryDirectory(prefix="secateur-environment-") as work:
        packages = Path(work) / "site-packages"
        pip.install(list(wheelhouse.record.requirements), wheelhouse.target, packages, [wheelhouse.folder])
        for distribution in OURS:
            _copy_ours(distribution, packages)
        _trim(packages)
        _compile(packages, wheelhouse.target.python)
        draft = folder / f"{os.getpid()}.draft"
        try:
            size = _pack(packages, draft)
            release = f"{secateur_agent.__version__}-cp{wheelhouse.target.python.replace('.', '')}-{_digest(draft)[:12]}"
            known = folder / f"{release}-{key}.tar.gz"
            known.with_suffix("").with_suffix(".size").write_text(f"{size}\n")
            os.replace(draft, known)
        except OSError as error:
            raise EnvironmentBuildError(f"{folder}: cannot be written: {error.strerror}") from None
        finally:
            draft.unlink(missing_ok=True)
    return known


def _key(wheelhouse: Wheelhouse) -> str:
    """What the archive depends on: the wheels and our own sources."""
    found = hashlib.sha256(repr((wheelhouse.record, _compiler(wheelhouse.target.python) is not None)).encode())
    for package in _PACKAGES.values():
        for path in _sources(package):
            found.update(path.name.encode() + b"\0" + path.read_bytes())
    return found.hexdigest()[:16]


def _sources(package: str) -> Iterator[Path]:
    root = _root(package)
    return (path for path in sorted(root.rglob("*")) if path.is_file() and "__pycache__" not in path.parts)


def _root(package: str) -> Path:
    return Path(str(importlib.import_module(package).__file__)).parent


def _copy_ours(distribution: str, packages: Path) -> None:
    """The agent that boards get is the one that this host knows: copied, with its metadata, not fetched from an index."""
    package = _PACKAGES[distribution]
    shutil.copytree(_root(package), packages / package, ignore=shutil.ignore_patterns("__pycache__"))
    found = importlib.metadata.distribution(distribution)
    info = packages / f"{package}-{found.version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(found.read_text("METADATA") or found.read_text("PKG-INFO") or "", encoding="utf-8")
    (info / "INSTALLER").write_text("secateur\n")


def _trim(packages: Path) -> None:
    for path in sorted(packages.rglob("*")):
        inside = path.relative_to(packages).parts
        if path.is_dir() and path.name in _LEFT_OUT and inside[0] not in _PACKAGES.values():
            shutil.rmtree(path)


def _compiler(python: str) -> str | None:
    return sys.executable if python == host_python() else shutil.which(f"python{python}")


def _compile(packages: Path, python: str) -> None:
    """Compile all modules here if that is possible: a small board takes a minute for it at its first start."""
    compiler = _compiler(python)
    if compiler is not None:
        # By the hash of the source and unchecked: times do not survive the archive.
        how = ["-q", "-s", str(packages), "--invalidation-mode", "unchecked-hash"]
        subprocess.run([compiler, "-I", "-m", "compileall", *how, str(packages)], capture_output=True, check=False)


def _pack(packages: Path, archive: Path) -> int:
    """Write the archive; return the bytes of what is in it."""
    size = 0
    with (
        archive.open("wb") as raw,
        gzip.GzipFile("", "wb", _LEVEL, raw, 0) as squeezed,
        tarfile.open(fileobj=squeezed, mode="w", format=tarfile.PAX_FORMAT) as tar,
    ):
        for path in sorted(packages.rglob("*")):
            entry = tar.gettarinfo(path, str(Path("site-packages") / path.relative_to(packages)))
            entry.uid = entry.gid = 0
            entry.uname = entry.gname = ""
            entry.mtime = 0
            entry.mode = 0o755 if path.is_dir() or entry.mode & 0o100 else 0o644
            size += entry.size
            if path.is_file():
                with path.open("rb") as file:
                    tar.addfile(entry, file)
            else:
                tar.addfile(entry)
    return size


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return file_digest(file)
