"""The file format of measured latencies: JSON, one file for each device profile and precision.

Cai et al., Once-for-all, ICLR 2020, and ProxylessNAS, ICLR 2019, plan from such tables too; theirs are fixed to one
search space, these are kept by operator signature, so that a table serves any network.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from secateur.ir import SecateurError, Signature
from secateur_profiles import Profile

VERSION = 1
Width = Annotated[int, Meta(ge=1, le=1 << 20)]
Milliseconds = Annotated[float, Meta(ge=1e-7, le=1e6)]
Text = Annotated[str, Meta(min_length=1, max_length=400)]


class LatencyTableError(SecateurError):
    """A latency table is damaged, or is for something else."""


class Section(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A part of a table; unknown keys are errors."""


class Key(Section, frozen=True, kw_only=True, omit_defaults=True):
    """What the latencies hold for.

    Attributes:
        profile: name of the device profile.
        runtime: as the profile names it.
        runtime_version: that was measured.
        precision: ``int8`` or ``fp32``.
        threads: inside an operator.
        machine: that was measured, in one line.
        date: of the measurement, ISO 8601.
        device: id of the device of the fleet that was measured; '' for a machine that is none.
    """

    profile: Text
    runtime: Text
    runtime_version: Text
    precision: Text
    threads: Annotated[int, Meta(ge=1, le=4096)]
    machine: Text
    date: Text
    device: Annotated[str, Meta(max_length=64)] = ""


class Point(Section, frozen=True, kw_only=True, omit_defaults=True):
    """One operator at one pair of widths: time that it adds to a network that contains it.

    ``slowed``: the device was throttled while this was measured.
    """

    channels_in: Width
    channels_out: Width
    p50_ms: Milliseconds
    p95_ms: Milliseconds
    slowed: bool = False


class Entry(Section, frozen=True, kw_only=True):
    """All points of one signature."""

    signature: Signature
    points: Annotated[tuple[Point, ...], Meta(min_length=1)]


class Calibration(Section, frozen=True, kw_only=True):
    """From the sum of a network's operators to its measured latency: ``scale · sum + offset_ms``.

    Attributes:
        checked: how many whole networks it was fitted on; 0 if none, then scale is 1 and the offset the overhead of a run.
    """

    scale: Annotated[float, Meta(ge=0.2, le=5)] = 1.0
    offset_ms: Annotated[float, Meta(ge=-1e3, le=1e3)] = 0.0
    checked: Annotated[int, Meta(ge=0, le=1000)] = 0


class LatencyTable(Section, frozen=True, kw_only=True):
    """A whole table.

    Attributes:
        run_overhead_ms: of one inference, however small the network.
        operator_overhead_ms: of one operator, however small; a floor under every estimate.
    """

    v: int
    key: Key
    run_overhead_ms: Annotated[float, Meta(ge=0, le=1e4)]
    operator_overhead_ms: Annotated[float, Meta(ge=0, le=1e4)]
    calibration: Calibration
    entries: Annotated[tuple[Entry, ...], Meta(min_length=1)]

    @property
    def points(self) -> list[Point]:
        """All measured points."""
        return [point for entry in self.entries for point in entry.points]

    @property
    def slowed_points(self) -> int:
        """How many of them were measured while a device was throttled."""
        return sum(point.slowed for point in self.points)


def encode_table(table: LatencyTable) -> bytes:
    """Return the file."""
    return msgspec.json.format(msgspec.json.encode(table), indent=1) + b"\n"


def decode_table(data: bytes, what: str) -> LatencyTable:
    """Read a table.

    Args:
        data: the file.
        what: its name, for errors.

    Raises:
        LatencyTableError: if it is damaged or of another version.
    """
    again = "measure again with 'secateur measure'"
    try:
        version = msgspec.json.decode(data, type=_Version).v
        if version != VERSION:
            raise LatencyTableError(f"latency table {what}: has format {version}, this version reads {VERSION}; {again}")
        table = msgspec.json.decode(data, type=LatencyTable)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise LatencyTableError(f"latency table {what}: is damaged ({error}); {again}") from None
    for entry in table.entries:
        pairs = [(point.channels_in, point.channels_out) for point in entry.points]
        if len(set(pairs)) < len(pairs):
            raise LatencyTableError(f"latency table {what}: is damaged ({entry.signature}: a point twice); {again}")
    if len({entry.signature for entry in table.entries}) < len(table.entries):
        raise LatencyTableError(f"latency table {what}: is damaged (a signature twice); {again}")
    return table


class _Version(Struct):
    v: int


def read_table(path: Path) -> LatencyTable:
    """Read a table from a file.

    Raises:
        LatencyTableError: if it cannot be read, is damaged or of another version.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise LatencyTableError(f"latency table {path}: cannot be read: {error.strerror or error}") from None
    return decode_table(data, str(path))


def write_table(path: Path, table: LatencyTable) -> None:
    """Write a table, in one step.

    Raises:
        LatencyTableError: if it cannot be written.
    """
    draft = path.with_name(f".{path.name}.draft")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        draft.write_bytes(encode_table(table))
        os.replace(draft, path)
    except OSError as error:
        raise LatencyTableError(f"latency table {path}: cannot be written: {error.strerror or error}") from None


def mismatch(key: Key, profile: Profile, precision: str, machine: str, runtime_version: str) -> str:
    """Return why a table does not hold for a profile and precision, or nothing.

    The version is compared with the installed one if the table was measured on this machine; for one that was measured on
    a device only the oldest version that the profile allows is known.

    Args:
        key: of the table.
        profile: to plan for.
        precision: to plan for.
        machine: this one, in one line.
        runtime_version: installed on this machine.
    """
    wanted = (
        ("profile", key.profile, profile.name),
        ("runtime", key.runtime, profile.runtime.name),
        ("precision", key.precision, precision),
        ("threads", key.threads, profile.runtime.threads),
    )
    for name, found, needed in wanted:
        if found != needed:
            return f"is for {name} {found}, not {needed}"
    if not key.device and key.machine == machine and key.runtime_version != runtime_version:
        return f"is for {key.runtime} {key.runtime_version}, but {runtime_version} is installed"
    if _numbers(key.runtime_version) < _numbers(profile.runtime.min_version):
        return f"is for {key.runtime} {key.runtime_version}, the profile needs {profile.runtime.min_version}"
    return ""


def _numbers(version: str) -> tuple[int, ...]:
    found = []
    for part in version.split("."):
        digits = "".join(c for c in part if c in "0123456789")
        found.append(int(digits) if digits else 0)
    return tuple(found)
