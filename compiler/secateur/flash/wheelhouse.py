"""Wheels for boards, kept on this machine: made once with a connection, then boards are flashed without one."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from secateur.flash import pip
from secateur.flash.requirements import missing, needed, wheels
from secateur.flash.target import Target, TargetError, make_target
from secateur_agent.store.files import write_atomic

_RECORD = "wheelhouse.json"
_ROUNDS = 5


class WheelhouseError(ValueError):
    """A wheelhouse is missing, incomplete or damaged."""


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """What a folder of wheels is for, and which it must hold."""

    v: int = 1
    python: str
    machine: str
    glibc: str
    runtime: str
    requirements: tuple[str, ...]
    wheels: tuple[str, ...]

    @classmethod
    def of(cls, target: Target, runtime: str, requirements: Sequence[str], wheels: Sequence[str]) -> Record:
        """Return the record of wheels for a system."""
        return cls(
            python=target.python,
            machine=target.machine,
            glibc=target.glibc,
            runtime=runtime,
            requirements=tuple(requirements),
            wheels=tuple(wheels),
        )


@dataclass(frozen=True)
class Wheelhouse:
    """A folder with all wheels that one system with one runtime needs."""

    folder: Path
    record: Record

    @property
    def target(self) -> Target:
        """The system that the wheels are for."""
        return Target(self.record.python, self.record.machine, self.record.glibc)

    @property
    def size(self) -> int:
        """Bytes of all wheels."""
        return sum((self.folder / name).stat().st_size for name in self.record.wheels)


def ensure(target: Target, runtime: str, root: Path, extra_wheels: Path | None = None) -> Wheelhouse:
    """Return the wheelhouse of a system and a runtime; download its wheels if they are not all there.

    Args:
        target: the system.
        runtime: the runtime's name.
        root: folder of all wheelhouses.
        extra_wheels: folder with wheels that come first.

    Raises:
        WheelhouseError: if the folder cannot be written.
        secateur.flash.pip.PipError: if a wheel cannot be had.
        secateur.flash.requirements.RequirementsError: if it is not known what is needed, or the extra wheels are unusable.
    """
    wanted = needed(target, runtime, extra_wheels)
    folder = root / f"{target.name}-{runtime}"
    if extra_wheels is None:
        found = _complete(folder, wanted)
        if found is not None:
            return found
    return build(target, runtime, folder, wanted, [extra_wheels] if extra_wheels else [])


def build(target: Target, runtime: str, folder: Path, wanted: Sequence[str], find_links: Sequence[Path]) -> Wheelhouse:
    """Download the newest wheels that meet the requirements, and all that these need."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise WheelhouseError(f"wheelhouse {folder}: cannot be written: {error.strerror}") from None
    asked = list(wanted)
    # pip evaluates markers for its own Python: unpack, look what is missing for the board's, and ask for that too.
    for _ in range(_ROUNDS):
        with tempfile.TemporaryDirectory(prefix="secateur-wheels-") as work:
            fresh = Path(work) / "wheels"
            pip.download(asked, target, fresh, [*find_links, folder])
            pip.install(asked, target, Path(work) / "installed", [fresh])
            left = missing(Path(work) / "installed", target)
            if not left:
                return _keep(fresh, folder, target, runtime, wanted)
        asked += left
    raise WheelhouseError(f"{', '.join(left)}: still missing after {_ROUNDS} attempts; tell the maintainers of the package")


def _keep(fresh: Path, folder: Path, target: Target, runtime: str, wanted: Sequence[str]) -> Wheelhouse:
    names = []
    try:
        (folder / _RECORD).unlink(missing_ok=True)
        for old in folder.glob("*.whl"):
            old.unlink()
        for path in wheels(fresh):
            (folder / path.name).write_bytes(path.read_bytes())
            names.append(path.name)
    except OSError as error:
        raise WheelhouseError(f"wheelhouse {folder}: cannot be written: {error.strerror}") from None
    record = Record.of(target, runtime, wanted, names)
    write_atomic(folder / _RECORD, msgspec.json.format(msgspec.json.encode(record)) + b"\n")
    return Wheelhouse(folder, record)


def _complete(folder: Path, wanted: Sequence[str]) -> Wheelhouse | None:
    """The wheelhouse if it has a record and all that the record names, for these requirements."""
    try:
        found = read(folder)
    except WheelhouseError:
        return None
    return found if tuple(wanted) == found.record.requirements else None


def read(folder: Path) -> Wheelhouse:
    """Read a wheelhouse.

    Raises:
        WheelhouseError: if there is none, or wheels that its record names are missing.
    """
    try:
        record = msgspec.json.decode((folder / _RECORD).read_bytes(), type=Record)
        make_target(record.python, record.machine, record.glibc, str(folder / _RECORD))
    except OSError:
        raise WheelhouseError(f"wheelhouse {folder}: none there; make it with 'secateur wheelhouse build'") from None
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, TargetError) as error:
        raise WheelhouseError(
            f"wheelhouse {folder / _RECORD}: damaged ({error}); remove the folder and build it again"
        ) from None
    gone = [name for name in record.wheels if "/" in name or not (folder / name).is_file()]
    if gone:
        raise WheelhouseError(f"wheelhouse {folder}: {gone[0]} is missing; build it again with 'secateur wheelhouse build'")
    return Wheelhouse(folder, record)


def all_below(root: Path) -> list[Wheelhouse]:
    """Return all complete wheelhouses below a folder, by name."""
    found = []
    for path in sorted(root.glob(f"*/{_RECORD}")):
        try:
            found.append(read(path.parent))
        except WheelhouseError:
            continue
    return found
