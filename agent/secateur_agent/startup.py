"""Everything that must be right before the agent runs: checked once, each mistake one line."""

from __future__ import annotations

import base64
import fcntl
import os
from dataclasses import dataclass
from pathlib import Path

from msgspec.structs import replace
from nacl.signing import SigningKey

from secateur_agent.clock import WallClock
from secateur_agent.config import Config, ConfigError, load_config
from secateur_agent.identity import device_key
from secateur_agent.inference.runtimes import known_runtimes
from secateur_agent.store import Store, make_folder, write_atomic
from secateur_agent.trust import TrustRoot, load_root
from secateur_profiles import Profile, ProfileError, load


class SetupError(ValueError):
    """The agent cannot run here as it is set up."""


@dataclass(frozen=True)
class Setup:
    """A configuration that was checked, and what it names. ``lock`` is held as long as the process lives."""

    config: Config
    profile: Profile
    trust_root: TrustRoot
    store: Store
    key: SigningKey
    clock: WallClock
    lock: int

    @property
    def state_path(self) -> Path:
        """The state folder."""
        return Path(self.config.state_dir)

    @property
    def trust_root_path(self) -> Path:
        """The trust root's file."""
        return Path(self.config.trust_root)

    @property
    def sysfs_root(self) -> Path:
        """The folder that holds ``proc`` and ``sys``."""
        return Path(self.config.sysfs_root)

    @property
    def public_key(self) -> str:
        """The device's public key in base64."""
        return base64.b64encode(bytes(self.key.verify_key)).decode()

    def release(self) -> None:
        """Let another process use the state folder."""
        os.close(self.lock)


def prepare(path: Path) -> Setup:
    """Check the configuration and all that it names; take hold of the state folder.

    Args:
        path: the configuration file.

    Raises:
        ConfigError: if the configuration is wrong, names an unknown profile, or one whose runtime this agent does not know.
        secateur_agent.trust.TrustError: if the trust root cannot be used.
        secateur_agent.store.StoreError: if the state folder cannot be written.
        secateur_agent.identity.IdentityError: if the device key is damaged.
        SetupError: if another agent uses the state folder.
    """
    config = load_config(path)
    try:
        profile = load(config.profile)
    except ProfileError as error:
        raise ConfigError(str(path), "profile", str(error)) from None
    if profile.runtime.name not in known_runtimes():
        known = ", ".join(known_runtimes())
        raise ConfigError(str(path), "profile", f"{profile.name}: runtime {profile.runtime.name!r} is not one of {known}")
    if config.threads:
        profile = replace(profile, runtime=replace(profile.runtime, threads=config.threads))
    trust_root = load_root(Path(config.trust_root))
    state = Path(config.state_dir)
    make_folder(state)
    write_atomic(state / "README", b"State of secateur-agent. Everything here is written by it; do not edit.\n")
    state.chmod(0o700)
    lock = _hold(state / "lock")
    return Setup(
        config=config,
        profile=profile,
        trust_root=trust_root,
        store=Store(state / "store"),
        key=device_key(state / "device.key"),
        clock=WallClock(state / "clock"),
        lock=lock,
    )


def _hold(path: Path, create: int = os.O_CREAT) -> int:
    descriptor = os.open(path, os.O_RDWR | create | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise SetupError(f"state folder {path.parent}: another secateur-agent uses it; stop that one first") from None
    return descriptor


def is_held(state: Path) -> bool:
    """Return whether an agent runs on this state folder."""
    try:
        # Whoever asks may be root, and a file of root's is one that the agent cannot open.
        os.close(_hold(state / "lock", create=0))
    except SetupError:
        return True
    except OSError:
        return False
    return False
