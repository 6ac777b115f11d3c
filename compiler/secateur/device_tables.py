"""The latency tables of single devices, in the user's data folder: finished ones, and what is known of one under way.

A device's table is for that device. Into the table of its profile, from which every compilation for the profile plans, its
numbers come only when somebody adopts them.
"""

from __future__ import annotations

import contextlib
import os
import re
import uuid
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

import secateur_profiles
from secateur.ir import SecateurError
from secateur.search import LatencyTable, LatencyTableError
from secateur.search.latency_table import Key, Milliseconds, mismatch, read_table, write_table
from secateur.targets import choose_precision, default_path, tables_folder
from secateur_profiles import Profile

_MOST_BYTES = 64 << 20
_DEVICE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
Digest = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}$(?!\n)")]


class DeviceTableError(SecateurError):
    """There is no such table, or it does not hold."""


class TimedFile(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The times of one file, or why it has none."""

    p50_ms: Milliseconds | None = None
    p95_ms: Milliseconds | None = None
    slowed: bool = False
    error: Annotated[str, Meta(max_length=200)] = ""


class UnderWay(Struct, frozen=True, kw_only=True):
    """What is known of a measurement that is not finished.

    Attributes:
        measurement: its id; a device takes times of another measurement for none of this.
        rounds: how often files take turns.
        machine: that is measured, in one line.
        slowed: why some of it may be slower than the device is.
        files: by digest.
    """

    v: Annotated[int, Meta(ge=1, le=1)] = 1
    measurement: Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$(?!\n)")]
    rounds: Annotated[int, Meta(ge=1, le=1000)]
    machine: Annotated[str, Meta(max_length=400)] = ""
    slowed: Annotated[str, Meta(max_length=2000)] = ""
    files: dict[Digest, TimedFile] = {}


def device_folder(device: str) -> Path:
    """Return where the tables of a device lie.

    Raises:
        DeviceTableError: if that cannot be the id of a device.
    """
    if not _DEVICE.fullmatch(device):
        raise DeviceTableError(f"device {device!r}: use 1 to 64 letters, digits, '.', '_' or '-'")
    return tables_folder() / "devices" / device


def table_path(device: str, profile: str, runtime: str, version: str, precision: str, threads: int) -> Path:
    """Return where a device's table for this key lies."""
    plain = re.sub(r"[^A-Za-z0-9.]+", "_", f"{runtime} {version}")
    return device_folder(device) / f"{profile}-{plain}-{precision}-{threads}t.json"


def load_under_way(path: Path, rounds: int) -> UnderWay:
    """Return what is known of a measurement, or begin one: what is damaged or was timed otherwise is measured again.

    Args:
        path: of the table that it will be.
        rounds: how often files take turns.
    """
    with contextlib.suppress(OSError, msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        if _draft(path).stat().st_size <= _MOST_BYTES:
            found = decode_under_way(_draft(path).read_bytes())
            if found.rounds == rounds:
                return found
    return UnderWay(measurement=f"m-{uuid.uuid4().hex[:16]}", rounds=rounds)


def decode_under_way(data: bytes) -> UnderWay:
    """Decode a measurement under way.

    Raises:
        msgspec.MsgspecError: if it is none.
    """
    return msgspec.json.decode(data, type=UnderWay)


def save_under_way(path: Path, known: UnderWay) -> None:
    """Keep what is known, in one step.

    Raises:
        DeviceTableError: if it cannot be written.
    """
    draft = _draft(path).with_suffix(".tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        draft.write_bytes(msgspec.json.encode(known))
        os.replace(draft, _draft(path))
    except OSError as error:
        raise DeviceTableError(f"{path.parent}: cannot be written: {error.strerror or error}") from None


def finish(path: Path, table: LatencyTable) -> None:
    """Write a device's table; what was known of it on the way is done with.

    Raises:
        LatencyTableError: if it cannot be written.
    """
    write_table(path, table)
    _draft(path).unlink(missing_ok=True)


def stored_tables(device: str = "") -> list[tuple[Path, LatencyTable]]:
    """Return the tables of a device, or all if none is named; the newest last. Damaged ones are left out."""
    folders = [device_folder(device)] if device else [tables_folder(), *sorted(tables_folder().glob("devices/*"))]
    found = []
    for path in (path for folder in folders for path in sorted(folder.glob("*.json"))):
        with contextlib.suppress(LatencyTableError):
            found.append((path, read_table(path)))
    return sorted(found, key=lambda each: each[1].key.date)


def shared_table(path: Path) -> bool:
    """Return whether a table is that of a profile, from which every compilation for it plans."""
    return path.parent == tables_folder()


def under_way(device: str) -> int:
    """Return of how many files the times are known that have not become a table yet."""
    count = 0
    for path in device_folder(device).glob("*.part"):
        with contextlib.suppress(OSError, msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            count += len(decode_under_way(path.read_bytes()).files)
    return count


def table_for(device: str, profile: Profile, precisions: Sequence[str], version: str = "") -> Path:
    """Return the newest table of a device that holds for a profile and precision.

    Args:
        device: its id.
        profile: to plan for.
        precisions: wanted, in order of preference; the profile's own order if empty.
        version: of the runtime that the device has now; '' if that is not known.

    Raises:
        DeviceTableError: if there is none.
        SecateurError: if none of the precisions can be built.
    """
    precision = choose_precision(profile, precisions)
    again = f"measure with 'secateur measure {device} --precision {precision}'"
    tables = stored_tables(device)
    if not tables:
        raise DeviceTableError(f"device {device}: no table is stored here; {again}")
    reasons: dict[str, None] = {}
    for path, table in reversed(tables):
        key = table.key
        reason = mismatch(key, profile, precision, "", "")
        if not reason and version and key.runtime_version != version:
            reason = f"is for {key.runtime} {key.runtime_version}, the device has {version} now"
        if not reason:
            return path
        reasons[reason] = None
    raise DeviceTableError(f"device {device}: no table holds: the newest {next(iter(reasons))}; {again}")


def adopt(device: str, precisions: Collection[str], replace: bool) -> list[tuple[Path, Key]]:
    """Make a device's newest tables those of its profile, from which every compilation for the profile plans.

    Args:
        device: its id.
        precisions: of the tables; all there are if empty.
        replace: also where a table of another machine is in use.

    Returns:
        Where each lies now, and what it holds for.

    Raises:
        DeviceTableError: if there is none, one of another machine is in use, or the device only plays the profile's board.
    """
    chosen = {
        (table.key.profile, table.key.precision): table
        for _, table in stored_tables(device)
        if not precisions or table.key.precision in precisions
    }
    if not chosen:
        which = f" in {', '.join(precisions)}" if precisions else ""
        raise DeviceTableError(f"device {device}: no table{which} is stored here; see 'secateur tables list'")
    adopted = []
    for (profile, precision), table in chosen.items():
        _refuse_another_processor(table.key)
        path = default_path(profile, precision)
        if path.exists() and not replace:
            owner = _owner(path)
            if owner != device:
                raise DeviceTableError(f"{path}: in use for {profile}, measured on {owner}; replace it with --replace")
    for (profile, precision), table in chosen.items():
        path = default_path(profile, precision)
        write_table(path, table)
        adopted.append((path, table.key))
    return adopted


def _refuse_another_processor(key: Key) -> None:
    """A device of another processor plays the profile's board, as in a demonstration."""
    with contextlib.suppress(secateur_profiles.ProfileError):  # a profile of the user's own is in a file
        wanted = secateur_profiles.load(key.profile).cpu.arch
        found = key.machine.split(",")[0]
        if found != wanted:
            raise DeviceTableError(f"device {key.device}: is a {found} that plays a {key.profile} ({wanted}); not adopted")


def _owner(path: Path) -> str:
    try:
        key = read_table(path).key
    except LatencyTableError:
        return "an unknown machine"
    return key.device or key.machine


def _draft(path: Path) -> Path:
    return path.with_suffix(".part")
