"""What the installation of models and of re-cut rungs work with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from secateur_agent.downloads import Downloads
from secateur_agent.helper_processes import HelperRunner
from secateur_agent.measurements import Measurements
from secateur_agent.store import Store
from secateur_agent.trust import TrustRoot
from secateur_profiles import Profile


class Announce(Protocol):
    """Publishes an event: what kind, a line for people, evidence."""

    def __call__(self, kind: str, text: str, evidence: dict[str, Any] | None = None) -> None: ...


@dataclass(frozen=True)
class Workplace:
    """Parts that installers share.

    ``state_path`` is the folder of all state; ``changed`` is called when what may be
    served, or what is reported, has changed; ``sysfs_root`` holds ``proc`` and ``sys``.
    """

    store: Store
    state_path: Path
    trust_root: TrustRoot
    trust_root_path: Path
    profile: Profile
    downloads: Downloads
    helpers: HelperRunner
    measurements: Measurements
    announce: Announce
    changed: Callable[[], None]
    sysfs_root: Path = Path("/")
