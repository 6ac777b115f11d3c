"""The ladder of one installed model: what its manifest says, which rungs may run, where their files lie."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import msgspec

from secateur_agent.bundle.manifest import BundleError, Manifest, RungEntry
from secateur_agent.inference.control import LoadRung
from secateur_agent.install.machine import Installed
from secateur_agent.protocol.envelope import Envelope
from secateur_agent.store import Store, StoreError
from secateur_profiles import Profile

COMPILED = "compiled"
"""Folder beside the model files for what a runtime compiles from them; it goes when they go."""


class InstalledLadder:
    """A model that is on the device.

    Args:
        manifest: its verified manifest.
        manifest_sha256: the digest of that.
        folder: where its model files lie.
        recuts: rungs that were cut later and passed their trial here.
        set_aside: rungs that this device cannot carry.

    Attributes:
        entries: rung id → entry, of all rungs that may run.
    """

    def __init__(
        self,
        manifest: Manifest,
        manifest_sha256: str,
        folder: Path,
        recuts: Iterable[RungEntry] = (),
        set_aside: Iterable[str] = (),
    ) -> None:
        self.manifest = manifest
        self.manifest_sha256 = manifest_sha256
        self.folder = folder
        without = set(set_aside)
        self.entries = {entry.id: entry for entry in (*manifest.rungs, *recuts) if entry.id not in without}

    def path(self, rung: str) -> Path:
        """Return where the model file of a rung lies."""
        return self.folder / f"{rung}.model"

    def load_request(self, entry: RungEntry, profile: Profile) -> LoadRung:
        """Return what to tell a worker so that it serves this rung."""
        return LoadRung(
            rung=entry.id,
            path=str(self.path(entry.id)),
            sha256=entry.file_sha256,
            precision=entry.precision,
            name=self.manifest.name,
            inputs=self.manifest.inputs,
            outputs=self.manifest.outputs,
            runtime=profile.runtime.name,
            providers=tuple(profile.runtime.providers),
            threads=profile.runtime.threads,
            cache=str(self.folder / COMPILED),
        )


def models_folder(store: Path, manifest_sha256: str) -> Path:
    """Return the folder of one model's files in the store."""
    return store / "models" / manifest_sha256


def open_installed(store: Store, installed: Installed, recuts: Iterable[RungEntry]) -> InstalledLadder:
    """Open a model that passed its trial before.

    Its signature was verified then, and the store checks the digest; so a trust root that was replaced since keeps new
    models out, but does not stop the one that runs.

    Args:
        store: where the manifest is.
        installed: what the install machine kept.
        recuts: rungs cut later.

    Raises:
        BundleError: if its manifest is gone or damaged.
    """
    digest = installed.manifest_sha256
    try:
        signed = msgspec.json.decode(store.read(digest), type=Envelope).signed
        manifest = msgspec.json.decode(signed, type=Manifest)
    except (StoreError, msgspec.MsgspecError) as error:
        raise BundleError(f"installed model {digest[:12]}: its manifest cannot be read: {error}") from None
    return InstalledLadder(manifest, digest, models_folder(store.root, digest), recuts, installed.set_aside)
