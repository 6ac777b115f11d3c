"""What a board's system is, as far as wheels care: Python, machine, C library."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass

OLDEST_PYTHON = (3, 10)
MACHINES = ("aarch64", "x86_64")
_OLDEST_GLIBC_MINOR = 17
_VERSION = re.compile(r"([0-9]{1,2})\.([0-9]{1,3})(?:\..*)?")


class TargetError(ValueError):
    """No environment can be made for such a system."""


@dataclass(frozen=True)
class Target:
    """A system that an environment is made for.

    Args:
        python: version of its ``python3``, ``"3.11"``.
        machine: as ``uname -m`` prints it.
        glibc: version of its C library, ``"2.36"``.
    """

    python: str
    machine: str
    glibc: str

    @property
    def name(self) -> str:
        """A name for folders: ``cp311-aarch64-glibc2.36``."""
        return f"cp{self.python.replace('.', '')}-{self.machine}-glibc{self.glibc}"

    def platforms(self) -> list[str]:
        """Return the platform tags of wheels that run there, the newest first (PEP 600)."""
        newest = int(self.glibc.split(".")[1])
        return [
            *(f"manylinux_2_{minor}_{self.machine}" for minor in range(newest, _OLDEST_GLIBC_MINOR - 1, -1)),
            f"manylinux2014_{self.machine}",
            f"linux_{self.machine}",
        ]

    def markers(self) -> dict[str, str]:
        """Return the environment that markers of requirements are evaluated in (PEP 508)."""
        return {
            "implementation_name": "cpython",
            "implementation_version": f"{self.python}.0",
            "os_name": "posix",
            "platform_machine": self.machine,
            "platform_python_implementation": "CPython",
            "platform_release": "",
            "platform_system": "Linux",
            "platform_version": "",
            "python_full_version": f"{self.python}.0",
            "python_version": self.python,
            "sys_platform": "linux",
        }


def make_target(python: str, machine: str, glibc: str, where: str) -> Target:
    """Check what was found out about a system.

    Args:
        python: version of its Python, ``3.11`` or ``3.11.2``; '' if it has none.
        machine: as ``uname -m`` prints it.
        glibc: version of its C library; '' if it has another one.
        where: the host or image, for the error line.

    Raises:
        TargetError: if the agent or its runtime cannot run there; says what to do.
    """
    found = _VERSION.fullmatch(python)
    if found is None:
        raise TargetError(
            f"{where}: no Python 3 found (it says {python[:40]!r}); install python3 there, or take an image with it"
        )
    version = int(found[1]), int(found[2])
    if version < OLDEST_PYTHON:
        raise TargetError(
            f"{where}: Python {version[0]}.{version[1]} is too old, the agent needs "
            f"{OLDEST_PYTHON[0]}.{OLDEST_PYTHON[1]} or later; "
            "take a newer system (Raspberry Pi OS Bookworm, JetPack 6, Debian 12, Ubuntu 22.04 or later)"
        )
    if machine not in MACHINES:
        hint = (
            "it is a 32-bit system on a board that may well run a 64-bit one; " if machine.startswith(("arm", "i")) else ""
        )
        raise TargetError(
            f"{where}: machine {machine[:40]!r} has no wheels of the runtimes; {hint}supported are {' and '.join(MACHINES)}"
        )
    library = _VERSION.fullmatch(glibc)
    if library is None or int(library[1]) != 2:
        raise TargetError(
            f"{where}: its C library is not glibc (it says {glibc[:40]!r}); "
            "there are no wheels of the runtimes for musl systems such as Alpine"
        )
    if int(library[2]) < _OLDEST_GLIBC_MINOR:
        raise TargetError(f"{where}: glibc {glibc} is too old; take a newer system")
    return Target(f"{version[0]}.{version[1]}", machine, f"2.{int(library[2])}")


PROBE = (
    "import json,os,platform,shutil,sys;"
    "c=getattr(os,'confstr_names',{});"
    # The kernel may be 64-bit and all programs 32-bit, as in Raspberry Pi OS (32-bit): the programs count.
    "m=platform.machine();m=m if sys.maxsize>>32 else {'aarch64':'armv8l','x86_64':'i686'}.get(m,m);"
    "print(json.dumps({'python':platform.python_version(),'machine':m,"
    "'glibc':(os.confstr('CS_GNU_LIBC_VERSION') or '') if 'CS_GNU_LIBC_VERSION' in c else '',"
    "'uid':os.getuid(),'free_mb':shutil.disk_usage('/').free>>20,"
    "'systemd':os.path.isdir('/run/systemd/system'),'executable':sys.executable,"
    "'hostname':platform.node()}))"
)
"""Program for a board's own Python that prints what it is."""


def check_systemd(probed: Mapping[str, object], where: str) -> None:
    """Check that the agent will be started where `PROBE` was run.

    Raises:
        TargetError: if systemd does not run there.
    """
    if probed.get("systemd") is not True:
        raise TargetError(f"{where}: systemd does not run there, so nothing would start the agent")


def target_of(probed: Mapping[str, object], where: str) -> Target:
    """Return the target that `PROBE` described.

    Raises:
        TargetError: as `make_target`.
    """
    glibc = str(probed.get("glibc", "")).removeprefix("glibc ").strip()
    return make_target(str(probed.get("python", "")), str(probed.get("machine", "")), glibc, where)


def host_python() -> str:
    """Return the version of the Python that runs here, ``"3.11"``."""
    return f"{sys.version_info[0]}.{sys.version_info[1]}"
