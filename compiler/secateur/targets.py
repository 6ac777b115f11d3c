"""What a profile is planned with: its first precision that can be built, and a latency table if there is one for it."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from pathlib import Path

from secateur.evaluation import describe_machine, require_runtime, runtime_version
from secateur.export import writable
from secateur.ir import PRECISIONS, SecateurError
from secateur.search import Estimator, LatencyTable, LatencyTableError, MeasuredTable, Roofline
from secateur.search.latency_table import mismatch, read_table
from secateur_profiles import Profile

THIS_MACHINE = "linux-x86-64"
"""The profile whose rungs can be timed where they are built."""


def tables_folder() -> Path:
    """Return where tables lie unless told otherwise: ``$XDG_DATA_HOME/secateur/latency``."""
    data = os.environ.get("XDG_DATA_HOME") or str(Path.home() / ".local" / "share")
    return Path(data) / "secateur" / "latency"


def default_path(profile: str, precision: str) -> Path:
    """Return where the table of a profile and precision lies, as measured on this machine."""
    return tables_folder() / f"{profile}-{precision}.json"


def is_this_machine(profile: Profile) -> bool:
    """Return whether rungs for this profile run here as they will there."""
    return profile.name == THIS_MACHINE and platform.system() == "Linux" and platform.machine() == profile.cpu.arch


def choose_precision(profile: Profile, wanted: Sequence[str]) -> str:
    """Return the first wanted precision that the profile takes and this version builds.

    Args:
        profile: the device profile.
        wanted: in order of preference; the profile's own order if empty.

    Raises:
        SecateurError: if there is none.
    """
    asked, able = tuple(wanted) or tuple(profile.precisions), writable(profile.runtime.name)
    if unknown := [precision for precision in asked if precision not in PRECISIONS]:
        raise SecateurError(f"precision {', '.join(unknown)}: not known; there are {', '.join(PRECISIONS)}")
    if not able:
        raise SecateurError(f"profile {profile.name}: runtime {profile.runtime.name!r}: files for it cannot be written")
    for precision in asked:
        if precision in able and precision in profile.precisions:
            return precision
    raise SecateurError(
        f"profile {profile.name}: none of {', '.join(asked)} can be built; it takes {', '.join(profile.precisions)}"
    )


def choose_targets(
    profiles: Sequence[Profile], precisions: Sequence[str], tables: Sequence[Path], find: bool, notes: list[str]
) -> list[Estimator]:
    """Return what each profile is planned with.

    Args:
        profiles: the device profiles.
        precisions: wanted, in order of preference.
        tables: latency tables that the user gave; each must be for one of the profiles.
        find: whether to look for a table in `tables_folder`, too; one that does not hold is left alone.
        notes: gets a line for each table that was found and does not hold, or was measured while a device was throttled.

    Raises:
        SecateurError: if a precision cannot be built, a runtime is not installed to check its files in, or a given table is
            for something else.
    """
    machine, version = describe_machine(), runtime_version()
    given = [(path, read_table(path)) for path in tables]
    chosen: list[Estimator] = []
    used: set[Path] = set()
    for profile in profiles:
        require_runtime(profile.runtime.name)
        precision = choose_precision(profile, precisions)
        estimator: Estimator = Roofline(profile, precision)
        for path, table in given:
            if not mismatch(table.key, profile, precision, machine, version):
                estimator = MeasuredTable(table, profile)
                used.add(path)
        if find and isinstance(estimator, Roofline):
            found = _found(profile, precision, machine, version, notes)
            estimator = MeasuredTable(found, profile) if found is not None else estimator
        if isinstance(estimator, MeasuredTable):
            _note_slowed(estimator, notes)
        chosen.append(estimator)
    for path, table in given:
        if path not in used:
            same = [t for t in chosen if t.profile.name == table.key.profile] or chosen
            reasons = dict.fromkeys(mismatch(table.key, t.profile, t.precision, machine, version) for t in same)
            raise LatencyTableError(
                f"latency table {path}: {'; '.join(filter(None, reasons))}; measure one with 'secateur measure'"
            )
    return chosen


def _note_slowed(estimator: MeasuredTable, notes: list[str]) -> None:
    table = estimator.table
    if slowed := table.slowed_points:
        where = table.key.device or table.key.machine
        notes.append(
            f"latency table of {where}: {slowed} of {len(table.points)} points were measured while it was throttled"
        )


def _found(profile: Profile, precision: str, machine: str, version: str, notes: list[str]) -> LatencyTable | None:
    """The table in the user's data folder, if it holds."""
    path = default_path(profile.name, precision)
    if not path.exists():
        return None
    try:
        table = read_table(path)
    except LatencyTableError as error:
        notes.append(f"{error}; planned without it")
        return None
    reason = mismatch(table.key, profile, precision, machine, version)
    # A device's table is there only because somebody adopted it for the profile.
    if not reason and not table.key.device and table.key.machine != machine:
        reason = f"is for {table.key.machine}, not for this machine"
    if reason:
        notes.append(f"latency table {path}: {reason}; planned without it")
        return None
    return table
