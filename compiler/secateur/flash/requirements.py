"""What the agent needs on a board, read from the metadata of the agent that is installed here."""

from __future__ import annotations

import re
from collections.abc import Iterable
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from packaging.markers import Marker
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename

from secateur.flash.target import Target

AGENT, PROFILES = "secateur-agent", "secateur-profiles"
OURS = (AGENT, PROFILES)


class RequirementsError(ValueError):
    """The agent's requirements cannot be read, or a wheel that was given is of no use."""


def needed(target: Target, runtime: str, extra_wheels: Path | None = None) -> list[str]:
    """Return what the agent needs on a system, without our own packages.

    Args:
        target: the system.
        runtime: name of the runtime, as profiles spell it; the agent has an extra of that name.
        extra_wheels: folder with wheels that are not on a package index. A variant of the runtime in it, such as
            ``onnxruntime_gpu``, takes the runtime's place.

    Raises:
        RequirementsError: if the agent is not installed here, or has no such extra.
    """
    found = _required(_installed(AGENT), target, runtime) + _required(_installed(PROFILES), target, "")
    names = [requirement.name for requirement in found]
    of_runtime = [name for name in names if name not in [each.name for each in _required(_installed(AGENT), target, "")]]
    if not of_runtime:
        raise RequirementsError(
            f"runtime {runtime!r}: the agent has no extra of that name, so it is not known what to install"
        )
    variants = _variants(extra_wheels, of_runtime[0]) if extra_wheels else {}
    return sorted(variants.get(each.name) or _plain(each) for each in found if canonicalize_name(each.name) not in OURS)


def missing(folder: Path, target: Target) -> list[str]:
    """Return requirements of what is installed in a folder that nothing in it meets.

    pip evaluates markers for the Python that it runs on; on another one, some requirements are overlooked.
    """
    installed = {canonicalize_name(name) for name in (_name(path) for path in folder.glob("*.dist-info")) if name}
    wanted = [each for path in folder.glob("*.dist-info") for each in _required(Distribution.at(path), target, "")]
    return sorted({_plain(each) for each in wanted if canonicalize_name(each.name) not in {*installed, *OURS}})


def _installed(name: str) -> Distribution:
    try:
        return distribution(name)
    except PackageNotFoundError:
        raise RequirementsError(f"{name} is not installed here; install it with pip, boards get a copy") from None


def _required(found: Distribution, target: Target, extra: str) -> list[Requirement]:
    kept = []
    for text in found.requires or ():
        try:
            requirement = Requirement(text)
        except InvalidRequirement:
            continue  # of a package that pip could read; it would have complained
        if _applies(requirement.marker, target, extra):
            kept.append(requirement)
    return kept


def _applies(marker: Marker | None, target: Target, extra: str) -> bool:
    return marker is None or marker.evaluate({**target.markers(), "extra": extra})


def _plain(requirement: Requirement) -> str:
    extras = f"[{','.join(sorted(requirement.extras))}]" if requirement.extras else ""
    return f"{requirement.name}{extras}{requirement.specifier}"


def _name(dist_info: Path) -> str:
    return dist_info.name.removesuffix(".dist-info").rpartition("-")[0]


def _variants(folder: Path, runtime: str) -> dict[str, str]:
    """Distribution of the runtime → the variant of it that lies in the folder."""
    for path in wheels(folder):
        name, version, _, _ = parse_wheel_filename(path.name)
        if re.fullmatch(rf"{re.escape(canonicalize_name(runtime))}-[a-z0-9-]+", name):
            return {runtime: f"{name}=={version}"}
    return {}


def wheels(folder: Path) -> list[Path]:
    """Return the wheels of a folder, sorted.

    Raises:
        RequirementsError: if there is none, or the name of one is not a wheel's.
    """
    found = sorted(folder.glob("*.whl")) if folder.is_dir() else []
    if not found:
        raise RequirementsError(f"{folder}: no wheel (*.whl) there")
    _check_names(found)
    return found


def _check_names(found: Iterable[Path]) -> None:
    for path in found:
        try:
            parse_wheel_filename(path.name)
        except InvalidWheelFilename:
            raise RequirementsError(f"{path}: not the name of a wheel; keep the name that it was published under") from None
