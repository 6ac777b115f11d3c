"""How the device stands, put together from its parts: birth, reported shadow, diagnosis."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import secateur_agent
from secateur_agent.downloads import Downloads
from secateur_agent.install.installer import Installer
from secateur_agent.install.ladder_keeper import LadderKeeper
from secateur_agent.link import Outbox
from secateur_agent.measurements import Measurements
from secateur_agent.protocol.messages import Birth, Reported
from secateur_agent.reporting import birth_message
from secateur_agent.runtime_versions import runtime_version
from secateur_agent.sensors import Sensor, read_all
from secateur_agent.shadow_state import DesiredShadow
from secateur_agent.startup import Setup
from secateur_agent.switching import ServingWorker


@dataclass(frozen=True)
class DeviceReport:
    """The parts that a report is made of; nothing here changes them."""

    setup: Setup
    boot: str
    endpoint: str
    installer: Installer
    keeper: LadderKeeper
    shadow: DesiredShadow
    worker: ServingWorker
    downloads: Downloads
    outbox: Outbox
    sensors: Sequence[Sensor]
    measurements: Measurements

    def birth(self) -> Birth:
        """Return who the device is."""
        config, profile = self.setup.config, self.setup.profile
        return birth_message(
            device=config.device,
            boot=self.boot,
            agent_version=secateur_agent.__version__,
            profile=profile.name,
            trust_root_version=self.setup.trust_root.version,
            public_key=self.setup.public_key,
            runtime=(profile.runtime.name, runtime_version(profile.runtime.name)),
            simulated=config.simulated,
        )

    def reported(self) -> Reported:
        """Return the device's side of the shadow."""
        state, desired, ladder = self.installer.state, self.shadow.desired, self.keeper.ladder
        # Of a model only: a re-cut rung is one chunk, gone before anybody could look.
        have, total = self.downloads.progress if state.busy else (0, 0)
        digest = state.committed.manifest_sha256 if state.committed else ""
        return Reported(
            version=self.shadow.version,
            boot=self.boot,
            install=state.step,
            model=ladder.manifest.name if ladder else "",
            manifest_sha256=digest,
            rung=self._rung(),
            rungs=tuple(ladder.entries) if ladder else (),
            pin=desired.pin if desired else "",
            measurements=self.measurements.of(digest),
            endpoint=self.endpoint,
            providers=self.worker.loaded.providers if self.worker.loaded else (),
            switch=self.worker.mode,
            download_have=have,
            download_total=total,
            fault=state.fault[:2000],
        )

    def _rung(self) -> str:
        """The rung of this model that serves. Just after a commit one of the model before still does, be its id and file the
        same."""
        serving, ladder = self.worker.serving, self.keeper.ladder
        if serving is None or ladder is None:
            return self.worker.rung
        mine = serving.rung in ladder.entries and serving.path == str(ladder.path(serving.rung))
        return serving.rung if mine else ""

    def diagnosis(self) -> dict[str, Any]:
        """Return the answer to the command ``diagnose``."""
        state = self.installer.state
        disk = os.statvfs(self.setup.state_path)
        return {
            "agent_version": secateur_agent.__version__,
            "install": state.step,
            "fault": state.fault,
            "failures": {failure.manifest_sha256[:12]: failure.reason for failure in state.failures},
            "rung": self.worker.rung,
            "banned": sorted(self.keeper.banned),
            "worker_pid": self.worker.pid,
            "held_samples": self.outbox.held(),
            "dropped_samples": self.outbox.dropped,
            "disk_free_mb": round(disk.f_bavail * disk.f_frsize / 2**20),
            "sensors_unavailable": {k: r.note for k, r in read_all(self.sensors).items() if r.value is None},
        }
