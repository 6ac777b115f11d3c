"""Case ``bundle-ratio``: what a ladder costs beyond its largest rung."""

from __future__ import annotations

import lzma
from pathlib import Path

from .case import Measured, say
from .networks import MOBILENET, PHONE, PROFILE, RESNET, TITLES, compiled


def measure(work: Path) -> list[Measured]:
    """Compile both networks and weigh their bundle folders."""
    found: list[Measured] = []
    for name, board in ((RESNET, PROFILE), (MOBILENET, PROFILE), (RESNET, PHONE), (MOBILENET, PHONE)):
        bundle = compiled(name, work, board)
        title = f"{TITLES[name]}, {'TFLite' if board == PHONE else 'ONNX'}"
        folder_bytes = sum(file.stat().st_size for file in bundle.path.rglob("*") if file.is_file())
        largest_bytes = max(len(bundle.materialise(rung.id)) for rung in bundle.manifest.rungs)
        count = len(bundle.manifest.rungs)
        say(f"{title}: bundle {folder_bytes} bytes, {count} rungs, largest file {largest_bytes} bytes")
        found.append(Measured("bundle-ratio", f"{title}, {count} rungs", folder_bytes / largest_bytes))
        # Recipes are compressed, a model file is not: the same with both sides compressed, file by file.
        packed = sum(_packed(file.read_bytes()) for file in bundle.path.rglob("*") if file.is_file())
        packed_largest = max(_packed(bundle.materialise(rung.id)) for rung in bundle.manifest.rungs)
        case = f"{title}, {count} rungs, every file on both sides compressed with xz"
        found.append(Measured("bundle-ratio", case, packed / packed_largest))
    return found


def _packed(data: bytes) -> int:
    """Bytes after xz, or as they are if that is less."""
    return min(len(data), len(lzma.compress(data)))
