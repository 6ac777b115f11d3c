"""Fixtures: the parts of an installation on a real store with a real bundle, and a loop that drives them."""

from __future__ import annotations

import base64
import hashlib
import queue
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.bundle_factory import ToyRecut, make_bundle

from secateur.bundle.keys import Keys, create_keys
from secateur_agent.bundle.manifest import open_manifest
from secateur_agent.downloads import Downloads
from secateur_agent.helper_processes import HelperEnded, HelperRunner
from secateur_agent.install.by_hand import blob_ref
from secateur_agent.install.installer import OWNER, Installer
from secateur_agent.install.ladder_keeper import LadderKeeper
from secateur_agent.install.recuts import Recuts
from secateur_agent.install.workplace import Workplace
from secateur_agent.measurements import Measurements
from secateur_agent.protocol.messages import ModelRef, RecutRef
from secateur_agent.store import Store
from secateur_profiles import load


class Killed(BaseException):
    """Stands for SIGKILL at a chosen instant."""


class Bench:
    """One device's installation. Attributes: ``place``, ``installer``, ``recuts``, ``keeper``, ``events``.

    ``on_event`` may raise `Killed`; ``start`` begins anew on the same disk, as a new process would.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.keys: Keys = create_keys(folder / "keys")
        self.host = Store(folder / "host")
        self.events: list[tuple[str, str]] = []
        self.on_event: Callable[[str], object] = lambda text: None
        (folder / "state").mkdir()
        self.start()

    def start(self) -> None:
        """Begin anew on what is on disk."""
        self.inbox: queue.Queue[HelperEnded] = queue.Queue()
        self.helpers = HelperRunner(self.inbox.put)
        store = Store(self.folder / "state" / "store")
        self.downloads = Downloads(store, lambda names: None, lambda names: None, lambda ask: None)
        self.place = Workplace(
            store=store,
            state_path=self.folder / "state",
            trust_root=self.keys.root,
            trust_root_path=self.keys.root_path,
            profile=load("linux-x86-64"),
            downloads=self.downloads,
            helpers=self.helpers,
            measurements=Measurements(self.folder / "state" / "measurements.json"),
            announce=self._announce,
            changed=lambda: None,
        )
        self.installer = Installer(self.place)
        self.recuts = Recuts(self.place)
        self.keeper = LadderKeeper(self.place, self.installer, self.recuts)

    def bundle(self, name: str = "toy", **options: Any) -> tuple[Path, ModelRef]:
        """Make a bundle; its files are on the host, not on the device."""
        path = make_bundle(self.folder, self.keys, name=name, **options)
        return path, self.ref(path)

    def ref(self, path: Path) -> ModelRef:
        """Describe a bundle as a desired shadow does."""
        data = (path / "manifest.json").read_bytes()
        manifest = open_manifest(self.keys.root, data)
        self.host.add(data)
        files = [blob_ref(self.host, self.host.add_file(path / file.path)) for file in manifest.files]
        digest = hashlib.sha256(data).hexdigest()
        return ModelRef(name=manifest.name, manifest=blob_ref(self.host, digest), files=tuple(files))

    def recut_ref(self, recut: ToyRecut) -> RecutRef:
        """Describe a re-cut rung as a desired shadow does."""
        digest = self.host.add(recut.recipe)
        return RecutRef(envelope=base64.b64encode(recut.envelope).decode(), recipe=blob_ref(self.host, digest))

    def deliver(self, model: ModelRef) -> None:
        """Send every chunk of a model."""
        for ref in (model.manifest, *model.files):
            if self.installer.state.step != "fetching":
                return
            self.downloads.on_chunk(ref.sha256, 0, self.host.read(ref.sha256), 0.0)
            self.installer.poll()

    def drive(self) -> None:
        """Run helpers until nothing is under way but a download."""
        while self.helpers.busy:
            ended = self.inbox.get(timeout=60)
            self.helpers.ended(ended)
            (self.installer if ended.job.owner == OWNER else self.recuts).on_helper(ended)
            self.keeper.refresh(0.0)
            self.recuts.step(self.keeper.ladder, free=not self.installer.state.busy)

    def install(self, model: ModelRef, version: int = 1) -> None:
        """Install a model to its end."""
        self.installer.want(model, version)
        self.deliver(model)
        self.drive()

    def _announce(self, kind: str, text: str, evidence: dict[str, Any] | None = None) -> None:
        self.events.append((kind, text))
        self.on_event(text)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """A fresh device."""
    return Bench(tmp_path)
