"""Installs a bundle that a person put on the device: the same machine as over the air, without a broker."""

from __future__ import annotations

import base64
import hashlib
import queue
from collections.abc import Callable
from pathlib import Path
from typing import Any

from secateur_agent.bundle.manifest import BundleError, open_manifest
from secateur_agent.downloads import Downloads
from secateur_agent.helper_processes import HelperEnded, HelperRunner
from secateur_agent.install.installer import Installer
from secateur_agent.install.workplace import Workplace
from secateur_agent.measurements import Measurements
from secateur_agent.protocol.messages import BlobRef, ModelRef
from secateur_agent.startup import Setup
from secateur_agent.store import Store

CHUNK_BYTES = 65536


class InstallError(ValueError):
    """The bundle was not installed; what served before still does."""


def install_by_hand(setup: Setup, bundle: Path, say: Callable[[str], object]) -> str:
    """Verify, try and commit a bundle.

    Args:
        setup: the agent's; no agent runs on its state folder.
        bundle: the bundle's folder.
        say: told each step.

    Returns:
        The name of the installed model.

    Raises:
        InstallError: if it fails its verification or trial.
        BundleError: if it is no bundle.
        secateur_agent.trust.TrustError: if it is not signed by a ``bundle`` key.
        secateur_agent.store.StoreError: if the disk does not take it.
    """
    model = _take_in(setup, bundle)
    inbox: queue.Queue[HelperEnded] = queue.Queue()
    helpers = HelperRunner(inbox.put)

    def nobody(_: object) -> None:
        return None

    def announce(kind: str, text: str, evidence: dict[str, Any] | None = None) -> None:
        say(f"{kind}: {text}")

    place = Workplace(
        store=setup.store,
        state_path=setup.state_path,
        trust_root=setup.trust_root,
        trust_root_path=setup.trust_root_path,
        profile=setup.profile,
        downloads=Downloads(setup.store, nobody, nobody, nobody),
        helpers=helpers,
        measurements=Measurements(setup.state_path / "measurements.json"),
        announce=announce,
        changed=lambda: None,
    )
    installer = Installer(place)
    try:
        installer.want(model, installer.state.version, by_hand=True)
        while installer.state.busy:
            installer.poll()
            if installer.state.busy:
                ended = inbox.get()
                helpers.ended(ended)
                installer.on_helper(ended)
    finally:
        helpers.stop()
    if installer.state.fault:
        raise InstallError(installer.state.fault)
    return model.name


def _take_in(setup: Setup, bundle: Path) -> ModelRef:
    """Copy a bundle's files into the store; return it as a desired shadow would name it."""
    path = bundle / "manifest.json"
    try:
        data = path.read_bytes()
    except OSError as error:
        raise BundleError(f"bundle {bundle}: no readable manifest.json ({error.strerror})") from None
    manifest = open_manifest(setup.trust_root, data, str(path))
    if manifest.profile != setup.profile.name:
        raise BundleError(f"bundle {bundle}: compiled for {manifest.profile}, but this device is a {setup.profile.name}")
    setup.store.add(data)
    files = []
    for file in manifest.files:
        if setup.store.add_file(bundle / file.path) != file.sha256:
            raise BundleError(f"bundle {bundle}: {file.path}: altered (its digest is not the manifest's)")
        files.append(blob_ref(setup.store, file.sha256))
    manifest_ref = blob_ref(setup.store, hashlib.sha256(data).hexdigest())
    return ModelRef(name=manifest.name, manifest=manifest_ref, files=tuple(files))


def blob_ref(store: Store, sha256: str) -> BlobRef:
    """Describe a blob of the store as it would travel."""
    path = store.path(sha256)
    size = path.stat().st_size
    if size <= CHUNK_BYTES:
        return BlobRef(sha256=sha256, size=size, chunk_bytes=CHUNK_BYTES)
    digests = bytearray()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            digests += hashlib.sha256(chunk).digest()
    return BlobRef(sha256=sha256, size=size, chunk_bytes=CHUNK_BYTES, chunks=base64.b64encode(digests).decode())
