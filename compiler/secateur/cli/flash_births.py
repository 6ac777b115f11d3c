"""A board is done when its host has verified the birth that it signed; asked of the running controller."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from secateur.fleet.client import ClientError, HostClient
from secateur.fleet.host_file import HostFileError

BIRTH_LIMIT_S = 120.0
_AGAIN_S = 1.0


def last_births(state: Path, devices: Sequence[str]) -> dict[str, str] | None:
    """Return device → boot id of its last birth, '' if it had none; None if no controller runs."""
    try:
        with HostClient.find(state) as host:
            known = {device["device"] for device in host.devices()}
            return {device: _boot(host, device)[0] if device in known else "" for device in devices}
    except (HostFileError, ClientError):
        return None


def wait_for_births(
    state: Path,
    before: dict[str, str] | None,
    devices: Sequence[str],
    told: Callable[[str, str], None],
    limit_s: float = BIRTH_LIMIT_S,
) -> dict[str, str]:
    """Wait until the controller has verified a new birth of each device.

    Args:
        state: its state folder.
        before: what `last_births` found before the boards were flashed.
        devices: those that were flashed.
        told: told when a wait begins.
        limit_s: how long to wait for all of them.

    Returns:
        Device → how it is enrolled, in words; '' for one that has not been heard of.
    """
    found = dict.fromkeys(devices, "")
    if before is None:
        return found
    deadline = time.monotonic() + limit_s
    for device in devices:
        told(device, "waiting for its signed birth")
    while not all(found.values()) and time.monotonic() < deadline:
        time.sleep(_AGAIN_S)
        for device in [each for each in devices if not found[each]]:
            try:
                with HostClient.find(state) as host:
                    boot, enrolment = _boot(host, device)
            except (HostFileError, ClientError):
                continue
            if boot and boot != before[device]:
                found[device] = enrolment
                told(device, f"enrolled {enrolment}")
    return found


def _boot(host: HostClient, device: str) -> tuple[str, str]:
    shown = host.device(device)
    return str((shown["birth"] or {}).get("boot", "")), str(shown["enrolment"])
