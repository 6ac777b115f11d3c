"""Case ``bundle-ratio``: what a ladder costs beyond its largest rung."""

from __future__ import annotations

import lzma
from pathlib import Path

from secateur.bundle.reader import BundleFolder

from .case import Measured, say
from .networks import MOBILENET, PHONE, PROFILE, RESNET, TITLES, compiled


def measure(work: Path) -> list[Measured]:
    """Compile both networks and weigh their bundle folders."""
    found: list[Measured] = []
    for name, board in ((RESNET, PROFILE), (MOBILENET, PROFILE), (RESNET, PHONE)):
        bundle = compiled(name, work, board)
        title = f"{TITLES[name]}, {'TFLite' if board == PHONE else 'ONNX'}"
        count = len(bundle.manifest.rungs)
        found.append(Measured("bundle-ratio", f"{title}, {count} rungs", ratio_of(bundle)))
        # Recipes are compressed, a model file is not: the same with both sides compressed, file by file.
        packed = sum(_packed(file.read_bytes()) for file in bundle.path.rglob("*") if file.is_file())
        packed_largest = max(_packed(bundle.materialise(rung.id)) for rung in bundle.manifest.rungs)
        case = f"{title}, {count} rungs, every file on both sides compressed with xz"
        found.append(Measured("bundle-ratio", case, packed / packed_largest))
    return found


def ratio_of(bundle: BundleFolder) -> float:
    """Return the bytes of a bundle's folder ÷ those of the largest model file that it materialises."""
    folder_bytes = sum(file.stat().st_size for file in bundle.path.rglob("*") if file.is_file())
    largest_bytes = max(len(bundle.materialise(rung.id)) for rung in bundle.manifest.rungs)
    say(f"{bundle.path.name}: bundle {folder_bytes} bytes, largest file {largest_bytes} bytes")
    return folder_bytes / largest_bytes


def _packed(data: bytes) -> int:
    """Bytes after xz, or as they are if that is less."""
    return min(len(data), len(lzma.compress(data)))
