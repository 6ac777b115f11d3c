"""Bundles, the blobs they consist of, and the rungs that were cut from them later."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
from sqlalchemy import Connection, select
from sqlalchemy.dialects.sqlite import insert

from secateur.bundle.reader import BundleError, BundleFolder, Manifest, RungEntry, TrustRoot, open_manifest
from secateur.fleet.blobs import blob_ref
from secateur.fleet.schema import blobs, bundles, recuts
from secateur.fleet.store import Store
from secateur_agent.protocol.messages import BlobRef, ModelRef


class UnknownBundle(ValueError):
    """No bundle with this digest was pushed from here."""


class Registered(NamedTuple):
    """A bundle that was pushed. ``workspace`` is None if rungs cannot be re-cut from it."""

    manifest_sha256: str
    manifest: Manifest
    path: Path
    workspace: Path | None


class RecutRow(NamedTuple):
    """A rung that was cut later: its entry, the envelope around it, and its recipe's digest."""

    entry: RungEntry
    envelope: bytes
    recipe_sha256: str


class Registry:
    """Bundles, blobs and re-cut rungs."""

    def __init__(self, store: Store, root: TrustRoot) -> None:
        """
        Args:
            store: the database.
            root: the trust root that every bundle must be signed under.
        """
        self._store = store
        self._root = root

    def register(self, path: Path, workspace: Path | None, chunk_bytes: int) -> tuple[Registered, ModelRef]:
        """Verify a bundle folder, file by file, and remember where it is.

        Args:
            path: the bundle folder.
            workspace: what `secateur compile` left for re-cutting; None for ``workspace`` beside the bundle, if any.
            chunk_bytes: how large the chunks shall be.

        Returns:
            The bundle, and the reference that goes into desired shadows.

        Raises:
            secateur.bundle.reader.BundleError: if a file is missing or altered.
            secateur.bundle.reader.TrustError: if the signature is wrong.
            secateur.fleet.blobs.BlobError: if the chunk size is out of range.
        """
        path = path.resolve()
        folder = BundleFolder(path, self._root)
        refs = [blob_ref(folder.read(file.sha256), chunk_bytes) for file in folder.manifest.files]
        manifest_data = (path / "manifest.json").read_bytes()
        manifest_ref = blob_ref(manifest_data, chunk_bytes)
        if manifest_ref.sha256 != folder.manifest_sha256:
            raise BundleError(f"bundle {path.name}: manifest.json changed while it was read; is it being compiled?")
        if workspace is None and (path.parent / "workspace").is_dir():
            workspace = path.parent / "workspace"
        files = [path / file.path for file in folder.manifest.files]
        with self._store.write() as connection:
            row = {
                "name": folder.manifest.name,
                "profile": folder.manifest.profile,
                "path": str(path),
                "workspace": str(workspace.resolve()) if workspace else "",
                "manifest": manifest_data,
                "registered_s": time.time(),
            }
            statement = insert(bundles).values(manifest_sha256=folder.manifest_sha256, **row)
            connection.execute(statement.on_conflict_do_update(index_elements=["manifest_sha256"], set_=row))
            self._add_blobs(connection, zip([manifest_ref, *refs], [path / "manifest.json", *files]))
        model = ModelRef(name=folder.manifest.name, manifest=manifest_ref, files=tuple(refs))
        return Registered(folder.manifest_sha256, folder.manifest, path, workspace), model

    def bundle(self, manifest_sha256: str) -> Registered:
        """Return a bundle that was pushed.

        Raises:
            UnknownBundle: if there is none with this digest.
        """
        with self._store.read() as connection:
            row = connection.execute(select(bundles).where(bundles.c.manifest_sha256 == manifest_sha256)).first()
        if row is None:
            raise UnknownBundle(f"bundle {manifest_sha256[:12]}: not pushed from here; push it again")
        manifest = open_manifest(self._root, row.manifest, f"bundle {row.name}")
        return Registered(manifest_sha256, manifest, Path(row.path), Path(row.workspace) if row.workspace else None)

    def any_workspace(self) -> bool:
        """Return whether rungs can be re-cut from any bundle."""
        with self._store.read() as connection:
            return connection.scalar(select(bundles.c.name).where(bundles.c.workspace != "").limit(1)) is not None

    def blob_path(self, sha256: str) -> Path | None:
        """Return where the file of a blob is, or None if it is not known."""
        with self._store.read() as connection:
            path = connection.scalar(select(blobs.c.path).where(blobs.c.sha256 == sha256))
        return Path(path) if path else None

    def add_blob(self, ref: BlobRef, path: Path) -> None:
        """Remember a blob that belongs to no bundle; its file lies at ``path``."""
        with self._store.write() as connection:
            self._add_blobs(connection, [(ref, path)])

    def add_recut(self, manifest_sha256: str, entry: RungEntry, envelope: bytes, recipe: BlobRef, path: Path) -> None:
        """Remember a rung that was cut later; its recipe lies at ``path``."""
        with self._store.write() as connection:
            statement = insert(recuts).values(
                manifest_sha256=manifest_sha256,
                rung=entry.id,
                precision=entry.precision,
                entry=msgspec.json.encode(entry),
                envelope=envelope,
                recipe_sha256=recipe.sha256,
                created_s=time.time(),
            )
            connection.execute(statement.on_conflict_do_nothing())
            self._add_blobs(connection, [(recipe, path)])

    def recuts(self, manifest_sha256: str) -> list[RecutRow]:
        """Return the rungs that were cut later from a bundle, newest first."""
        query = select(recuts).where(recuts.c.manifest_sha256 == manifest_sha256).order_by(recuts.c.created_s.desc())
        with self._store.read() as connection:
            return [
                RecutRow(msgspec.json.decode(row.entry, type=RungEntry), row.envelope, row.recipe_sha256)
                for row in connection.execute(query)
            ]

    def _add_blobs(self, connection: Connection, found: Sequence[tuple[BlobRef, Path]] | zip[tuple[BlobRef, Path]]) -> None:
        for ref, path in found:
            where = {"path": str(path), "size": ref.size}
            statement = insert(blobs).values(sha256=ref.sha256, **where)
            connection.execute(statement.on_conflict_do_update(index_elements=["sha256"], set_=where))
