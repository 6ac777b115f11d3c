"""The Debian on a phone: what is there already, and how it is installed, asked and removed (proot-distro).

Its commands are those of proot-distro 4 and 5 (https://github.com/termux/proot-distro). A container of version 4 lies in
``installed-rootfs/NAME``, one of version 5 in ``containers/NAME/rootfs``.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from secateur.flash.errors import FlashError
from secateur.flash.payload import BOARD_PYTHON
from secateur.flash.phone import Answer, Phone, Say
from secateur.flash.target import MACHINES, PROBE
from secateur.flash.termux_scripts import BOOT, DISTRIBUTION, FOLDER

INSTALL_LIMIT_S = 1800.0
_ASK_LIMIT_S = 120.0
_DEBIAN_MB = 600
"""Debian and Python, and what is downloaded for them."""
_NO_PYTHON = (126, 127)

_LOOK = f"""\
p="${{PREFIX:-/data/data/com.termux/files/usr}}"; f="$HOME/{FOLDER}"
echo "prefix=$p"; echo "home=$HOME"; echo "machine=$(uname -m)"
[ -x "$p/bin/pkg" ] && echo "pkg=yes"
[ -x "$p/bin/proot-distro" ] && echo "proot_distro=yes"
for r in "$p/var/lib/proot-distro/containers/{DISTRIBUTION}/rootfs" \\
    "$p/var/lib/proot-distro/installed-rootfs/{DISTRIBUTION}"; do
    [ -d "$r" ] && echo "rootfs=$r" && break
done
[ -d "$f" ] && echo "folder=yes"
[ -f "$HOME/{BOOT}" ] && echo "script=yes"
for n in debian debian.part python3 boot-folder; do [ -f "$f/made/$n" ] && echo "made=$n"; done
echo "free_kb=$(df -Pk "$HOME" 2>/dev/null | tail -n 1 | awk '{{print $4}}')"
a=$(pm list packages com.termux.boot 2>/dev/null) && echo "boot_app=$(echo "$a" | grep -c com.termux.boot)"
exit 0
"""


@dataclass(frozen=True)
class Facts:
    """What is on a phone.

    Args:
        prefix: Termux's ``$PREFIX``.
        home: Termux's home.
        machine: as ``uname -m`` prints it.
        proot_distro: whether the program is installed.
        rootfs: Debian's folder, '' if it is not there.
        made: what earlier runs made beside their own folder (``debian``, ``debian.part``, ``python3``, ``boot-folder``).
        flashed: whether anything of earlier runs is there.
        free_mb: room; -1 if that is not known.
        boot_app: whether the app Termux:Boot is installed; None if that cannot be asked.
    """

    prefix: str
    home: str
    machine: str
    proot_distro: bool
    rootfs: str
    made: frozenset[str]
    flashed: bool
    free_mb: int
    boot_app: bool | None


async def look(phone: Phone) -> Facts:
    """Find out what is on a phone.

    Raises:
        FlashError: if it is not Termux that answers.
    """
    answer = await phone.run(_LOOK)
    pairs = [line.split("=", 1) for line in answer.out.splitlines() if "=" in line]
    found = {key: value.strip() for key, value in pairs}
    if found.get("pkg") != "yes" or not found.get("home", "").startswith("/"):
        raise FlashError(
            f"{phone.where}: what answers there is not Termux; install Termux on the phone and run its own sshd "
            "('pkg install openssh', 'passwd', 'sshd': port 8022)"
        )
    free, app = found.get("free_kb", ""), found.get("boot_app", "")
    return Facts(
        prefix=found.get("prefix", ""),
        home=found["home"],
        machine=found.get("machine", ""),
        proot_distro="proot_distro" in found,
        rootfs=found.get("rootfs", ""),
        made=frozenset(value.strip() for key, value in pairs if key == "made"),
        flashed="folder" in found or "script" in found,
        free_mb=int(free) >> 10 if free.isascii() and free.isdigit() else -1,
        boot_app=app != "0" if app.isascii() and app.isdigit() else None,
    )


async def in_debian(
    phone: Phone,
    command: Sequence[str],
    *,
    given: bytes = b"",
    bind: str = "",
    limit_s: float = _ASK_LIMIT_S,
    say: Say | None = None,
) -> Answer:
    """Run a command as root of Debian, which sees nothing of the phone's files but ``bind`` (``FROM:TO``)."""
    options = ["--isolated", *(["--bind", bind] if bind else [])]
    line = shlex.join(["proot-distro", "login", *options, DISTRIBUTION, "--", *command])
    return await phone.run(f"PD_FORCE_NO_COLORS=1 {line}", given, limit_s, say)


async def ensure_debian(phone: Phone, facts: Facts, say: Say) -> dict[str, Any]:
    """Install Debian and its Python unless they are there, and note what was made.

    Returns:
        What its Python says of it (`secateur.flash.target.PROBE`).

    Raises:
        FlashError: if something is missing that only a person at the phone can mend, or there is no network.
    """
    if facts.machine not in MACHINES:
        raise FlashError(
            f"{phone.where}: its system is {facts.machine[:40]!r}; there are wheels of the runtimes for "
            f"{' and '.join(MACHINES)} only, so it needs a 64-bit phone and Termux's 64-bit build"
        )
    if not facts.proot_distro:
        raise FlashError(f"{phone.where}: proot-distro is missing; in Termux on the phone: 'pkg install proot-distro'")
    if not facts.rootfs or "debian.part" in facts.made:
        await _install_debian(phone, facts, say)
    answer = await _probe(phone)
    if answer.code in _NO_PYTHON or "not found" in answer.complaint:
        await _install_python(phone, say)
        answer = await _probe(phone)
    try:
        found = json.loads(answer.out) if answer.code == 0 else None
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        said = answer.complaint or answer.out[-200:].strip() or f"exit status {answer.code}"
        raise FlashError(f"{phone.where}: Debian's Python does not run: {said}; try 'proot-distro login debian' there")
    return found


async def _probe(phone: Phone) -> Answer:
    # By standard input: proot-distro hands its words on through one more shell.
    return await in_debian(phone, [BOARD_PYTHON, "-I", "-"], given=PROBE.encode())


async def _install_debian(phone: Phone, facts: Facts, say: Say) -> None:
    if 0 <= facts.free_mb < _DEBIAN_MB:
        raise FlashError(f"{phone.where}: {facts.free_mb} MB are free, Debian needs about {_DEBIAN_MB}; make room there")
    notes = f'"$HOME/{FOLDER}/made"'
    # Noted first, so that one that was cut off is known to be ours, and not whole.
    await _must(phone, f"umask 077; mkdir -p {notes} && touch {notes}/debian.part", "its home cannot be written")
    if facts.rootfs:
        await phone.run(f"proot-distro remove {DISTRIBUTION}", limit_s=INSTALL_LIMIT_S)
    say("installing Debian by the phone's own network (proot-distro); this takes minutes")
    answer = await phone.run(f"PD_FORCE_NO_COLORS=1 proot-distro install {DISTRIBUTION}", limit_s=INSTALL_LIMIT_S)
    if answer.code:
        clean = f'rm -f {notes}/debian.part; rmdir {notes} "$HOME/{FOLDER}" 2>/dev/null; exit 0'
        await phone.run(f"proot-distro remove {DISTRIBUTION} >/dev/null 2>&1; {clean}", limit_s=INSTALL_LIMIT_S)
        reason = answer.complaint or answer.out[-200:].strip() or f"exit status {answer.code}"
        raise FlashError(
            f"{phone.where}: Debian could not be installed: {reason}; is the phone online? "
            "On the phone: 'proot-distro install debian'"
        )
    await _must(phone, f"mv -f {notes}/debian.part {notes}/debian", "its home cannot be written")


async def _install_python(phone: Phone, say: Say) -> None:
    say("installing python3 in Debian by the phone's own network")
    command = (["apt-get", "-q", "update"], ["apt-get", "-q", "-y", "install", "--no-install-recommends", "python3"])
    for each in command:
        answer = await in_debian(phone, ["env", "DEBIAN_FRONTEND=noninteractive", *each], limit_s=INSTALL_LIMIT_S)
        if answer.code:
            reason = answer.complaint or f"exit status {answer.code}"
            raise FlashError(
                f"{phone.where}: Debian has no python3, and it could not be installed: {reason}; is the phone online? "
                "On the phone: 'proot-distro login debian', then 'apt install python3'"
            )
    notes = f'"$HOME/{FOLDER}/made"'
    await _must(phone, f"umask 077; mkdir -p {notes} && touch {notes}/python3", "its home cannot be written")


async def remove_debian(phone: Phone) -> None:
    """Remove Debian and what was downloaded for it.

    Raises:
        FlashError: if that fails.
    """
    answer = await phone.run(f"PD_FORCE_NO_COLORS=1 proot-distro remove {DISTRIBUTION}", limit_s=INSTALL_LIMIT_S)
    if answer.code:
        raise FlashError(f"{phone.where}: Debian could not be removed: {answer.complaint or f'exit status {answer.code}'}")
    # Version 5 keeps the image, version 4 does not know the option.
    await phone.run(f"proot-distro remove --image {DISTRIBUTION} >/dev/null 2>&1", limit_s=_ASK_LIMIT_S)


async def _must(phone: Phone, command: str, problem: str) -> None:
    answer = await phone.run(command)
    if answer.code:
        raise FlashError(f"{phone.where}: {problem}: {answer.complaint}")
