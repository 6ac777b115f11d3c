"""Where everything lies on a board."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

USER = "secateur"
UNIT = "secateur-agent.service"


@dataclass(frozen=True)
class Layout:
    """All paths, below a root that is ``/`` on a board and another folder in a test or an image that is not running."""

    root: Path

    @property
    def live(self) -> bool:
        """Whether this is the running system: only there are accounts, services and the clock touched."""
        return self.root == Path("/")

    @property
    def opt(self) -> Path:
        """What was installed."""
        return self.root / "opt/secateur"

    @property
    def releases(self) -> Path:
        """One folder for each environment."""
        return self.opt / "releases"

    @property
    def current(self) -> Path:
        """Link to the release that runs."""
        return self.opt / "current"

    @property
    def previous(self) -> Path:
        """Link to the release that ran before."""
        return self.opt / "previous"

    @property
    def program(self) -> Path:
        """Copy of the setup program, for the unit and for removal."""
        return self.opt / "secateur-setup.pyz"

    @property
    def record(self) -> Path:
        """What was installed, and what there was before."""
        return self.opt / "installed.json"

    @property
    def trial(self) -> Path:
        """There while a new release has not shown that it works."""
        return self.opt / "trial.json"

    @property
    def config(self) -> Path:
        """Folder of configuration and secrets."""
        return self.root / "etc/secateur"

    @property
    def state(self) -> Path:
        """Folder that the agent keeps everything in."""
        return self.root / "var/lib/secateur"

    @property
    def unit(self) -> Path:
        """The systemd unit."""
        return self.root / "etc/systemd/system" / UNIT

    @property
    def wanted(self) -> Path:
        """The link that starts the unit at boot."""
        return self.root / "etc/systemd/system/multi-user.target.wants" / UNIT

    @property
    def log(self) -> Path:
        """What the setup program did."""
        return self.root / "var/log/secateur-setup.log"
