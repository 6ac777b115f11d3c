"""The device's store: every file of every bundle once, named by its SHA-256.

Layout: ``blobs/<sha256>``, ``partial/<sha256>.part`` and ``.json`` (a download that is not finished and its `BlobRef`),
``models/<manifest sha256>/<rung>.onnx`` (materialised rungs). A file under ``blobs`` is complete: it came there by rename.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
from pathlib import Path
from typing import BinaryIO

from secateur_agent.protocol.messages import BlobRef, MessageError, decode, encode
from secateur_agent.protocol.topics import TopicError, checked_id, checked_sha256
from secateur_agent.store.files import (
    StoreError,
    disk_error,
    make_folder,
    remove_leftovers,
    sync_folder,
    write_atomic,
    write_atomic_with,
)

_PIECE_BYTES = 1 << 20


class Store:
    """Files by digest below one folder. Attribute: ``root``."""

    def __init__(self, root: Path) -> None:
        """Open the store, creating its folders.

        Raises:
            StoreError: if they cannot be created.
        """
        self.root = root
        self._blobs = root / "blobs"
        self._partial = root / "partial"
        self._models = root / "models"
        for folder in (self._blobs, self._partial, self._models):
            make_folder(folder)

    def path(self, sha256: str) -> Path:
        """Return where the blob is, or would be.

        Raises:
            StoreError: if ``sha256`` is not a digest.
        """
        return self._blobs / _checked(sha256)

    def part_path(self, sha256: str) -> Path:
        """Return where the unfinished content of a download is.

        Raises:
            StoreError: if ``sha256`` is not a digest.
        """
        return self._partial / f"{_checked(sha256)}.part"

    def model_path(self, manifest_sha256: str, rung: str) -> Path:
        """Return where the model file of a rung is, or would be; its folder may not exist yet.

        Raises:
            StoreError: if the digest or the rung's id is malformed.
        """
        try:
            return self._models / _checked(manifest_sha256) / f"{checked_id(rung)}.model"
        except TopicError as error:
            raise StoreError(str(error)) from None

    def has(self, sha256: str) -> bool:
        """Tell whether the blob is here, complete.

        Raises:
            StoreError: if ``sha256`` is not a digest.
        """
        return self.path(sha256).is_file()

    def verify(self, sha256: str) -> None:
        """Read a blob from disk and compare its digest. A damaged blob is removed, so that it can be fetched again.

        Raises:
            StoreError: if it is missing, unreadable or damaged.
        """
        path = self.path(sha256)
        try:
            with path.open("rb") as file:
                found = file_digest(file)
        except OSError as error:
            raise disk_error("read", path, error) from None
        if found != sha256:
            self._remove_damaged(sha256)

    def read(self, sha256: str) -> bytes:
        """Return a blob, its digest verified. A damaged blob is removed, so that it can be fetched again.

        Raises:
            StoreError: if it is missing, unreadable or damaged.
        """
        path = self.path(sha256)
        try:
            data = path.read_bytes()
        except OSError as error:
            raise disk_error("read", path, error) from None
        if hashlib.sha256(data).hexdigest() != sha256:
            self._remove_damaged(sha256)
        return data

    def add(self, data: bytes) -> str:
        """Store a blob and return its digest. Mends a blob of this digest that is damaged.

        Raises:
            StoreError: if it cannot be written.
        """
        sha256 = hashlib.sha256(data).hexdigest()
        if not self._intact(sha256):
            write_atomic(self.path(sha256), data)
        return sha256

    def add_file(self, path: Path) -> str:
        """Store a copy of a file and return its digest.

        Raises:
            StoreError: if it cannot be read or written, or changes meanwhile.
        """
        try:
            with path.open("rb") as file:
                sha256 = file_digest(file)
                if self._intact(sha256):
                    return sha256
                file.seek(0)
                write_atomic_with(self.path(sha256), lambda target: shutil.copyfileobj(file, target, _PIECE_BYTES))
        except OSError as error:
            raise disk_error("read", path, error) from None
        self.verify(sha256)
        return sha256

    def keep_ref(self, ref: BlobRef) -> None:
        """Note on disk what is being downloaded, so that after a restart chunks are understood before the host speaks.

        Raises:
            StoreError: if it cannot be written.
        """
        if self._read_ref(self._journal_path(ref.sha256)) != ref:
            write_atomic(self._journal_path(ref.sha256), encode(ref))

    def unfinished(self) -> list[BlobRef]:
        """Return what was being downloaded, by digest; notes that are damaged are left out."""
        refs = [self._read_ref(path) for path in sorted(self._partial.glob("*.json"))]
        return [ref for ref in refs if ref is not None and not self.has(ref.sha256)]

    def adopt_part(self, sha256: str) -> None:
        """Move a finished download, already synced to disk and verified, to its place among the blobs.

        Raises:
            StoreError: if it cannot be moved.
        """
        try:
            os.replace(self.part_path(sha256), self.path(sha256))
            sync_folder(self._blobs)
            self.drop_part(sha256)
        except OSError as error:
            raise disk_error("store", self.path(sha256), error) from None

    def drop_part(self, sha256: str) -> None:
        """Forget an unfinished download.

        Raises:
            StoreError: if its files cannot be removed.
        """
        files = [path for path in (self.part_path(sha256), self._journal_path(sha256)) if path.exists()]
        try:
            for path in files:
                path.unlink(missing_ok=True)
            if files:
                sync_folder(self._partial)
        except OSError as error:
            raise disk_error("remove", self.part_path(sha256), error) from None

    def collect(self, keep: set[str]) -> int:
        """Remove blobs, unfinished downloads and materialised rungs whose digest (for rungs: of the manifest) is not kept.

        Also removes what interrupted writes left behind, so nothing else may write to the store meanwhile.

        Args:
            keep: digests to keep: of the manifests and of all their files.

        Returns:
            How many blobs were removed.

        Raises:
            StoreError: if something cannot be removed.
        """
        removed = 0
        try:
            for folder in (self._blobs, self._partial, *self._models.iterdir()):
                remove_leftovers(folder)
            for path in list(self._blobs.iterdir()):
                if path.name not in keep:
                    path.unlink()
                    removed += 1
            for path in list(self._partial.iterdir()):
                if path.name.partition(".")[0] not in keep:
                    path.unlink()
            for path in list(self._models.iterdir()):
                if path.name not in keep:
                    shutil.rmtree(path)
            for folder in (self._blobs, self._partial, self._models):
                sync_folder(folder)
        except OSError as error:
            raise disk_error("clean up", self.root, error) from None
        return removed

    def _journal_path(self, sha256: str) -> Path:
        return self._partial / f"{_checked(sha256)}.json"

    def _read_ref(self, path: Path) -> BlobRef | None:
        try:
            ref = decode(path.read_bytes(), BlobRef, path.name)
        except (OSError, MessageError):
            return None
        return ref if path.stem == ref.sha256 else None

    def _intact(self, sha256: str) -> bool:
        if not self.has(sha256):
            return False
        try:
            self.verify(sha256)
        except StoreError:
            return False
        return True

    def _remove_damaged(self, sha256: str) -> None:
        with contextlib.suppress(OSError):
            self.path(sha256).unlink()
        raise StoreError(f"blob {sha256[:12]}: damaged on disk; it was removed and has to be fetched again")


def file_digest(file: BinaryIO) -> str:
    """Return the SHA-256 of the rest of an open file, read piece by piece."""
    digest = hashlib.sha256()
    while piece := file.read(_PIECE_BYTES):
        digest.update(piece)
    return digest.hexdigest()


def _checked(sha256: str) -> str:
    try:
        return checked_sha256(sha256)
    except TopicError as error:
        raise StoreError(str(error)) from None
