"""The desired shadow on the device: verified, kept on disk, and only then acted upon."""

from __future__ import annotations

from pathlib import Path

from secateur_agent.protocol.messages import Desired, MessageError
from secateur_agent.store import write_atomic
from secateur_agent.trust import TrustError, TrustRoot, open_signed


class ShadowError(ValueError):
    """A desired shadow is refused."""


class DesiredShadow:
    """What the host wants, as last accepted.

    Args:
        path: the file that keeps the signed envelope, byte for byte.
        device: the id of this device.
        root: who may sign.

    Attributes:
        desired: the accepted shadow, None before the first.
        problem: why the kept one could not be used at start, '' if it could.
    """

    def __init__(self, path: Path, device: str, root: TrustRoot) -> None:
        self._path = path
        self._device = device
        self._root = root
        self.desired: Desired | None = None
        self.problem = ""
        try:
            self.desired = self._open(path.read_bytes())
        except FileNotFoundError:
            pass
        except (OSError, ShadowError) as error:
            self.problem = f"the kept desired shadow is not used: {error}"

    @property
    def version(self) -> int:
        """The version of the accepted shadow; 0 before the first."""
        return self.desired.version if self.desired else 0

    def accept(self, payload: bytes) -> Desired | None:
        """Verify a shadow and keep it.

        Args:
            payload: the envelope as received.

        Returns:
            The new shadow, or None if it is the one accepted already (a retained message comes again at each
            reconnect).

        Raises:
            ShadowError: if it is malformed, not signed for this device, or older than the accepted one.
            secateur_agent.store.files.StoreError: if it cannot be kept; then it must not be acknowledged.
        """
        desired = self._open(payload)
        if desired.version == self.version:
            return None
        if desired.version < self.version:
            raise ShadowError(f"desired shadow: version {desired.version} is older than {self.version}, which holds")
        write_atomic(self._path, payload)
        self.desired = desired
        return desired

    def _open(self, payload: bytes) -> Desired:
        try:
            desired = open_signed(self._root, "command", payload, Desired, "desired shadow")
        except (TrustError, MessageError) as error:
            raise ShadowError(str(error)) from None
        if desired.device != self._device:
            raise ShadowError(f"desired shadow: signed for device {desired.device[:64]!r}, not for this one")
        return desired
