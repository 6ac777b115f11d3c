"""The environment that arm64 boards get, made by the product: the tests take it as it is."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

from secateur.flash.environment import build_environment
from secateur.flash.target import Target
from secateur.flash.wheelhouse import ensure

_BOOKWORM = Target(python="3.11", machine="aarch64", glibc="2.36")


def environment_archive(folder: Path, runtime: str = "onnxruntime") -> Path:
    """Make it, or take it from the folder.

    Args:
        folder: where wheels and archives are kept.
        runtime: the runtime's name.

    Returns:
        The archive, with `site-packages` in it.
    """
    return build_environment(ensure(_BOOKWORM, runtime, folder / "wheels"), folder / "environments").archive


def part_of(archive: Path, packages: tuple[str, ...]) -> bytes:
    """Some packages of an environment, for a board that gets no more. Returns: a tar.gz."""
    part = io.BytesIO()
    with tarfile.open(archive) as whole, tarfile.open(fileobj=part, mode="w:gz") as taken:
        for entry in whole:
            if entry.name.split("/")[1:2] and entry.name.split("/")[1] in packages:
                taken.addfile(entry, whole.extractfile(entry) if entry.isfile() else None)
    return part.getvalue()
