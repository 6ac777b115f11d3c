"""Packs of files that devices are to time: kept until no command needs them any more."""

from __future__ import annotations

import asyncio
import contextlib
import os
from pathlib import Path
from typing import Any

from secateur.fleet.blobs import blob_ref
from secateur.fleet.commands import Commands
from secateur.fleet.devices import Device
from secateur.fleet.registry import Registry
from secateur_agent.profiling.pack import Pack, PackError
from secateur_agent.protocol.messages import BlobRef

CAPABILITY = "time-pack"
"""What an agent says at its birth if it knows what to do with a pack; another would measure its rungs instead."""


class Packs:
    """The packs of open commands.

    Args:
        registry: where blobs are found.
        commands: which are open.
        folder: where the packs lie.
    """

    def __init__(self, registry: Registry, commands: Commands, folder: Path) -> None:
        self._registry = registry
        self._commands = commands
        self._folder = folder
        self._issuing: set[str] = set()

    async def issue(self, device: Device, path: Path, chunk_bytes: int, expiry_s: float) -> dict[str, Any]:
        """Command a device to time a pack.

        Args:
            device: to whom.
            path: the pack; it is copied.
            chunk_bytes: size of the chunks that travel.
            expiry_s: after so many seconds it must no longer be begun.

        Returns:
            The command.

        Raises:
            secateur_agent.profiling.pack.PackError: if it is no pack, or the device's agent cannot time one.
            secateur.fleet.commands.CommandError: if the expiry is out of range.
        """
        if device.birth is None or CAPABILITY not in device.birth.capabilities:
            raise PackError(f"device {device.device}: its agent is too old to time operators; install a newer one")
        ref = await asyncio.to_thread(self._keep, path, chunk_bytes)
        try:
            return self._commands.issue(device.device, "measure", expiry_s, ref)
        finally:
            self._issuing.discard(ref.sha256)

    def collect(self) -> None:
        """Remove the packs that no open command names."""
        needed = {ref.sha256 for ref in self._commands.open_packs()} | self._issuing
        with contextlib.suppress(OSError):
            for path in self._folder.iterdir():
                if path.name.removeprefix(".") not in needed:
                    path.unlink()

    def _keep(self, path: Path, chunk_bytes: int) -> BlobRef:
        Pack(path)
        try:
            data = path.read_bytes()
            ref = blob_ref(data, chunk_bytes)
            self._issuing.add(ref.sha256)
            self._folder.mkdir(exist_ok=True)
            draft = self._folder / f".{ref.sha256}"
            draft.write_bytes(data)
            os.replace(draft, self._folder / ref.sha256)
        except OSError as error:
            raise PackError(f"pack {path}: {error.strerror}") from None
        self._registry.add_blob(ref, self._folder / ref.sha256)
        return ref
