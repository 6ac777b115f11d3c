"""What people ask of devices: run this bundle, stay on that rung, aim at these limits. All of it is desired shadow."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from secateur.fleet.devices import Device, DeviceStore
from secateur.fleet.publisher import Target
from secateur.fleet.registry import Registered, Registry
from secateur.fleet.shadow import Shadows
from secateur.fleet.traffic import Traffic
from secateur_agent.protocol.messages import BlobRef, Desired, Policy


class PushError(ValueError):
    """A push, pin or policy that makes no sense for its device."""


class Steering:
    """Pushes, pins and policies."""

    def __init__(
        self,
        *,
        devices: DeviceStore,
        registry: Registry,
        shadows: Shadows,
        traffic: Traffic,
        announce: Callable[[dict[str, Target], Sequence[BlobRef]], None],
    ) -> None:
        self._devices = devices
        self._registry = registry
        self._shadows = shadows
        self._traffic = traffic
        self._announce = announce

    async def push(
        self, bundle: Path, names: Sequence[str], *, workspace: Path | None, chunk_bytes: int, any_profile: bool
    ) -> tuple[Registered, dict[str, int]]:
        """Make a bundle the desired model of devices.

        Args:
            bundle: its folder.
            names: the devices.
            workspace: for re-cutting; None for the folder ``workspace`` beside the bundle.
            chunk_bytes: size of the chunks that travel.
            any_profile: push even if the bundle was compiled for another profile than a device has.

        Returns:
            The bundle, and per device the version of its desired shadow.

        Raises:
            PushError: if a device has never introduced itself, or has another profile.
            ValueError: those of `Registry.register`. Nothing was changed then.
        """
        if not names:
            raise PushError("push: name at least one device")
        targets = [self._devices.get(name) for name in dict.fromkeys(names)]
        for device in targets:
            if device.birth is None:
                raise PushError(f"device {device.device}: it has not introduced itself yet; start its agent")
        registered, model = await asyncio.to_thread(self._registry.register, bundle, workspace, chunk_bytes)
        for device in targets:
            profile = device.birth.profile if device.birth else ""
            if profile != registered.manifest.profile and not any_profile:
                raise PushError(
                    f"device {device.device}: its profile is {profile}, but {bundle.name} was compiled for "
                    f"{registered.manifest.profile}; compile for {profile}, or push with --any-profile"
                )
        rungs = {entry.id for entry in registered.manifest.rungs}
        versions: dict[str, int] = {}
        needed: dict[str, list[BlobRef]] = {}
        for device in targets:
            needed[device.device] = self._needs(device, [model.manifest, *model.files])

            def change(desired: Desired) -> Desired:
                same = desired.model is not None and desired.model.manifest.sha256 == model.manifest.sha256
                if same:
                    return msgspec.structs.replace(desired, model=model)
                pin = desired.pin if desired.pin in rungs else ""
                return msgspec.structs.replace(desired, model=model, recuts=(), pin=pin)

            wanted, _ = self._shadows.change(device.device, change)
            versions[device.device] = wanted.version
            self._traffic.begin(device.device, wanted.version, registered.manifest_sha256)
        for name, version in versions.items():
            self._announce({name: Target(version, registered.manifest_sha256)}, needed[name])
        return registered, versions

    def pin(self, name: str, rung: str) -> int:
        """Pin a device to a rung ('' or ``auto``: let it choose); return the version of its desired shadow.

        Raises:
            PushError: if its model has no such rung.
        """
        rung = "" if rung == "auto" else rung
        self._devices.get(name)
        wanted = self._shadows.get(name)
        if wanted is None or wanted.model is None:
            raise PushError(f"device {name}: nothing was pushed to it yet, so there is no rung to pin")
        digest = wanted.model.manifest.sha256
        known = [entry.id for entry in self._registry.bundle(digest).manifest.rungs]
        held = {recut.recipe.sha256 for recut in wanted.recuts}
        known += [row.entry.id for row in self._registry.recuts(digest) if row.recipe_sha256 in held]
        if rung and rung not in known:
            raise PushError(f"device {name}: its model has no rung {rung!r}; it has {', '.join(known)}")
        return self._shadows.change(name, lambda desired: msgspec.structs.replace(desired, pin=rung))[0].version

    def set_policy(self, name: str, policy: Policy) -> int:
        """Give a device's governor a policy; return the version of its desired shadow."""
        self._devices.get(name)
        return self._shadows.change(name, lambda desired: msgspec.structs.replace(desired, policy=policy))[0].version

    def _needs(self, device: Device, refs: Sequence[BlobRef]) -> list[BlobRef]:
        """Leave out what the device's committed bundle already has; if it lost something, it asks."""
        reported = device.reported
        if reported is None or reported.install != "committed" or not reported.manifest_sha256:
            return list(refs)
        with contextlib.suppress(ValueError):
            held = {file.sha256 for file in self._registry.bundle(reported.manifest_sha256).manifest.files}
            return [ref for ref in refs if ref.sha256 not in held and ref.sha256 != reported.manifest_sha256]
        return list(refs)
