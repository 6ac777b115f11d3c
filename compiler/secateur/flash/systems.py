"""Systems that boards run, by the code names of their releases: which Python and which C library they have."""

from __future__ import annotations

from secateur.flash.target import Target, TargetError, make_target

SYSTEMS = {
    "bullseye": ("3.9", "2.31"),
    "bookworm": ("3.11", "2.36"),
    "trixie": ("3.13", "2.41"),
    "jammy": ("3.10", "2.35"),
    "noble": ("3.12", "2.39"),
}
"""Debian 11 to 13 (Raspberry Pi OS too), Ubuntu 22.04 and 24.04 (JetPack 6 and 7): ``python3`` and glibc as released."""


def target_of_system(name: str, machine: str, where: str) -> Target:
    """Return what an environment for a system must be.

    Args:
        name: its code name, such as ``bookworm``.
        machine: as ``uname -m`` prints it there.
        where: the image, for the error line.

    Raises:
        TargetError: if it is not known, or too old.
    """
    if name not in SYSTEMS:
        raise TargetError(f"{where}: system {name[:40]!r} is not known; known are {', '.join(SYSTEMS)}")
    return make_target(SYSTEMS[name][0], machine, SYSTEMS[name][1], where)
