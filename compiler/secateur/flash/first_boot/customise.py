"""Puts payload and settings on a boot partition, and reads all of it back."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from secateur.flash.errors import FlashError, Progress, silent
from secateur.flash.fat import FatPartition
from secateur.flash.first_boot.mechanism import MARK, SUFFIX, Found, Mechanism
from secateur.flash.payload import FOLDER, Payload
from secateur.flash.settings import Settings
from secateur_agent.store.blobs import file_digest


@dataclass(frozen=True)
class WrittenFile:
    """One file on the boot partition: its name, bytes, SHA-256, and whether it replaced one of the image."""

    name: str
    size: int
    sha256: str
    replaced: bool = False


def customise(
    boot: FatPartition, mechanism: Mechanism, found: Found, payload: Payload, settings: Settings, progress: Progress = silent
) -> tuple[WrittenFile, ...]:
    """Write all that makes a board ours; what starts it comes last.

    Args:
        boot: the boot partition.
        mechanism: how the image takes settings.
        found: what the image is.
        payload: what the board gets.
        settings: what its owner wants besides.
        progress: told as step "boot partition".

    Returns:
        What was written, each verified by reading it back from the medium.

    Raises:
        FlashError: if something cannot be written, does not fit, or reads back differently.
    """
    files = mechanism.files(boot, found, settings)
    before = {name: boot.read(name) for name in files if boot.has(name)}
    # The first copy is the image's own. What we made ourselves is not kept: it may hold the key of a network.
    kept = {
        name + SUFFIX: content
        for name, content in before.items()
        if not boot.has(name + SUFFIX) and MARK.encode() not in content
    }
    ours: Mapping[str, bytes | Path] = {f"{FOLDER}/{name}": file.source for name, file in payload.files.items()}
    boot.remove(FOLDER)
    boot.require_free({**{name: _size(source) for name, source in ours.items()}, **_sizes(kept), **_sizes(files)})
    written: list[WrittenFile] = []
    everything: dict[str, bytes | Path] = {**ours, **kept, **files}
    total = sum(_size(source) for source in everything.values())
    done = 0
    for name, source in everything.items():
        boot.write(name, source)
        done += _size(source)
        progress("boot partition", done, total)
        written.append(WrittenFile(name, _size(source), _sha256(source), name in before))
    if mechanism.label and boot.label().upper() != mechanism.label:
        boot.set_label(mechanism.label)
        if boot.label().upper() != mechanism.label:
            raise FlashError(
                f"{boot.path}: the boot partition does not take the label {mechanism.label}, which the image needs"
            )
    boot.verify({file.name: file.sha256 for file in written})
    return tuple(written)


def _sizes(files: Mapping[str, bytes]) -> dict[str, int]:
    return {name: len(content) for name, content in files.items()}


def _size(source: bytes | Path) -> int:
    return len(source) if isinstance(source, bytes) else source.stat().st_size


def _sha256(source: bytes | Path) -> str:
    if isinstance(source, bytes):
        return hashlib.sha256(source).hexdigest()
    with source.open("rb") as file:
        return file_digest(file)
