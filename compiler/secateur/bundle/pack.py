"""Packs a bundle folder, and proves it by materialising every rung again with the device's code."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save

from secateur.bundle.keys import Keys
from secateur_agent.bundle.manifest import BundleError, FileRef, Manifest, Metric, RungEntry, TensorSpec
from secateur_agent.bundle.reader import BundleFolder


def encode_base(tensors: Mapping[str, NDArray[np.generic]]) -> bytes:
    """Return a base as a safetensors file."""
    data: bytes = save({name: np.ascontiguousarray(value) for name, value in tensors.items()})
    return data


def digest(data: bytes) -> str:
    """Return the SHA-256 of ``data`` in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def pack(
    folder: Path,
    name: str,
    profile: str,
    files: Mapping[str, bytes],
    rungs: Sequence[RungEntry],
    inputs: Sequence[TensorSpec],
    outputs: Sequence[TensorSpec],
    metric: Metric,
    keys: Keys,
) -> BundleFolder:
    """Write a bundle.

    The folder appears whole or not at all.

    Args:
        folder: where; an earlier bundle there is replaced.
        name: of the model.
        profile: of the device.
        files: path inside the bundle → bytes: bases and recipes.
        rungs: the ladder, largest first.
        inputs: of the network.
        outputs: of the network.
        metric: what the rungs' metric values mean.
        keys: must hold the ``bundle`` key.

    Raises:
        BundleError: if a rung does not materialise to what its entry says, or the folder cannot be written.
    """
    refs = tuple(FileRef(path=path, sha256=digest(data), size=len(data)) for path, data in sorted(files.items()))
    manifest = Manifest(
        name=name,
        profile=profile,
        files=refs,
        inputs=tuple(inputs),
        outputs=tuple(outputs),
        metric=metric,
        rungs=tuple(rungs),
    )
    draft = folder.with_name(f".{folder.name}.draft")
    shutil.rmtree(draft, ignore_errors=True)
    try:
        for path, data in files.items():
            (draft / path).parent.mkdir(parents=True, exist_ok=True)
            (draft / path).write_bytes(data)
        (draft / "manifest.json").write_bytes(keys.seal("bundle", manifest))
        written = BundleFolder(draft, keys.root)
        for rung in rungs:
            if digest(written.materialise(rung.id)) != rung.file_sha256:
                raise BundleError(f"bundle {name}: rung {rung.id} does not materialise to the file that was measured")
        _exchange(draft, folder)
    except OSError as error:
        raise BundleError(f"bundle {folder}: cannot be written: {error.strerror or error}") from None
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return BundleFolder(folder, keys.root)


def _exchange(draft: Path, folder: Path) -> None:
    """Put the draft in the folder's place; if that fails the earlier bundle is there again."""
    old = folder.with_name(f".{folder.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        os.replace(folder, old)
    try:
        os.replace(draft, folder)
    except OSError:
        if old.exists():
            os.replace(old, folder)
        raise
    shutil.rmtree(old, ignore_errors=True)
