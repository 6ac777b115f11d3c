"""Whether a bundle may be installed on this device, as far as its manifest tells."""

from __future__ import annotations

import os
from pathlib import Path

from secateur_agent.bundle.manifest import BundleError, Manifest, open_manifest
from secateur_agent.protocol.messages import BlobRef, ModelRef
from secateur_agent.trust import TrustRoot

_SPARE_BYTES = 4 << 20


def accept_manifest(root: TrustRoot, data: bytes, model: ModelRef, profile: str) -> Manifest:
    """Verify a manifest and that the desired shadow lists exactly its files.

    Args:
        root: who may sign.
        data: the manifest file.
        model: what the desired shadow says.
        profile: the name of this device's profile.

    Returns:
        The manifest.

    Raises:
        secateur_agent.trust.TrustError: if it is not signed by a ``bundle`` key.
        BundleError: if it is malformed, for another device, or its files are not those listed.
    """
    manifest = open_manifest(root, data)
    if manifest.profile != profile:
        raise BundleError(f"bundle {manifest.name}: compiled for {manifest.profile}, but this device is a {profile}")
    if manifest.name != model.name:
        raise BundleError(f"bundle {manifest.name}: the desired shadow calls it {model.name[:64]!r}")
    signed = {file.sha256: file.size for file in manifest.files}
    listed = {ref.sha256: ref.size for ref in model.files}
    if signed != listed:
        other = sorted(set(signed.items()) ^ set(listed.items()))[0]
        raise BundleError(
            f"bundle {manifest.name}: the desired shadow lists other files than its manifest"
            f" (first difference: {other[0][:12]}, {other[1]} bytes)"
        )
    return manifest


def missing_bytes(model: ModelRef, has: list[BlobRef]) -> int:
    """Return how many bytes of the model's files are still to come."""
    here = {ref.sha256 for ref in has}
    return sum(ref.size for ref in {r.sha256: r for r in (model.manifest, *model.files)}.values() if ref.sha256 not in here)


def space_problem(folder: Path, needed_bytes: int, what: str) -> str:
    """Return a line if the disk cannot take ``needed_bytes`` more, else ''."""
    try:
        disk = os.statvfs(folder)
    except OSError as error:
        return f"{folder}: {error.strerror}"
    free_bytes = disk.f_bavail * disk.f_frsize
    if free_bytes >= needed_bytes + _SPARE_BYTES:
        return ""
    return (
        f"disk full: {what} needs {needed_bytes / 2**20:.1f} MB, {folder} has {free_bytes / 2**20:.1f} MB free;"
        " make room and push again"
    )
