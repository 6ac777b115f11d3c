"""``--measured-on DEVICE``: which stored tables these are."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path

import secateur_profiles
from secateur.cli.options import find_host
from secateur.device_tables import DeviceTableError, stored_tables, table_for
from secateur.fleet.client import ClientError
from secateur.fleet.host_file import HostFileError


def measured_tables(
    devices: Sequence[str], profiles: Sequence[str], precisions: Sequence[str], state: Path | None
) -> list[Path]:
    """Return the tables of devices that hold for the profiles.

    Args:
        devices: whose tables.
        profiles: to compile for, name or file.
        precisions: wanted, in order of preference; each profile's own order if empty.
        state: folder of the controller: if it runs, it knows which version of the runtime a device has now.

    Raises:
        DeviceTableError: if a device has none that holds.
    """
    known = [secateur_profiles.load(profile) for profile in profiles]
    found: list[Path] = []
    for device in devices:
        measured = {table.key.profile for _, table in stored_tables(device)}
        chosen = [profile for profile in known if profile.name in measured]
        if measured and not chosen:
            raise DeviceTableError(
                f"device {device}: is measured as {', '.join(sorted(measured))}, not as {', '.join(p.name for p in known)}"
            )
        version = _present_version(device, state)
        found += [table_for(device, profile, precisions, version) for profile in chosen or known]
    return found


def _present_version(device: str, state: Path | None) -> str:
    """The version of its runtime that a device has now, '' if no controller runs or it does not know the device."""
    with contextlib.suppress(HostFileError, ClientError), find_host(state, "") as host:
        birth = host.device(device)["birth"] or {}
        return str(birth.get("runtime_version", ""))
    return ""
