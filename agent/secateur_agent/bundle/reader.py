"""Reads a bundle that lies in a folder: verifies everything before anything of it is used."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

from secateur_agent.bundle.base import read_base
from secateur_agent.bundle.manifest import BundleError, FileRef, Manifest, RungEntry, open_manifest
from secateur_agent.bundle.materialise import materialise_bytes
from secateur_agent.bundle.recipe import Recipe, decode_recipe, inherit
from secateur_agent.trust import TrustRoot


class BundleFolder:
    """A bundle folder whose manifest has been verified. Attributes: ``path``, ``manifest``, ``manifest_sha256``."""

    def __init__(self, path: Path, root: TrustRoot) -> None:
        """Open a bundle folder.

        Args:
            path: the folder.
            root: the trust root that its manifest must be signed under.

        Raises:
            BundleError: if there is no manifest or it is malformed.
            secateur_agent.trust.TrustError: if the signature is wrong.
        """
        self.path = path
        try:
            data = (path / "manifest.json").read_bytes()
        except OSError as error:
            raise BundleError(f"bundle {path}: no readable manifest.json ({error.strerror})") from None
        self.manifest: Manifest = open_manifest(root, data, f"{path.name}/manifest.json")
        self.manifest_sha256 = hashlib.sha256(data).hexdigest()

    def read(self, sha256: str) -> bytes:
        """Return a file of the bundle by its digest, verified.

        Raises:
            BundleError: if it is missing or altered.
        """
        file = self._file(sha256)
        try:
            data = (self.path / file.path).read_bytes()
        except OSError as error:
            raise BundleError(f"bundle {self.path.name}: {file.path}: {error.strerror}") from None
        if len(data) != file.size or hashlib.sha256(data).hexdigest() != sha256:
            raise BundleError(f"bundle {self.path.name}: {file.path}: altered (its digest is not the manifest's)")
        return data

    def verify(self) -> None:
        """Check every file against the manifest.

        Raises:
            BundleError: names the first file that is missing or altered.
        """
        for file in self.manifest.files:
            self.read(file.sha256)

    def recipe(self, rung: RungEntry) -> Recipe:
        """Return the recipe of a rung, with its program.

        Raises:
            BundleError: if it or its parent is missing, altered or malformed.
        """
        return load_recipe(self.read(rung.recipe), rung, self.read)

    def materialise(self, rung_id: str) -> bytes:
        """Return the model file of a rung.

        Raises:
            BundleError: if there is no such rung or something of it is altered.
        """
        rung = self.manifest.rung(rung_id)
        self.read(rung.base)
        base = read_base(self.path / self._file(rung.base).path)
        return materialise_bytes(self.recipe(rung), base, f"rung {rung_id}")

    def _file(self, sha256: str) -> FileRef:
        for file in self.manifest.files:
            if file.sha256 == sha256:
                return file
        raise BundleError(f"bundle {self.path.name}: no file with digest {sha256[:12]}")


def load_recipe(data: bytes, rung: RungEntry, read: Callable[[str], bytes], must_inherit: bool = False) -> Recipe:
    """Decode a rung's recipe, fetch its parent, and check that it promises the rung's file.

    Args:
        data: the recipe file.
        rung: the manifest's entry.
        read: returns the verified bytes of another recipe of the same bundle, by digest.
        must_inherit: True for a rung that the online key signed: it may have no program of its own.

    Raises:
        BundleError: if any of this does not hold.
    """
    what = f"recipe of {rung.id}"
    recipe = decode_recipe(data, what)
    if must_inherit and not recipe.parent:
        raise BundleError(f"{what}: signed by the online key, but it has a program of its own")
    if recipe.parent:
        recipe = inherit(recipe, decode_recipe(read(recipe.parent.hex()), f"parent of {what}"), what)
    if recipe.sha256.hex() != rung.file_sha256 or recipe.size != rung.file_bytes:
        raise BundleError(f"{what}: it writes another file than the manifest names")
    return recipe
