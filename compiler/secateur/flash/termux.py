"""Flashes phones: the same payload and the same setup program as on a board, in a Debian inside Termux.

There is no systemd on a phone. The setup program installs without one, and a script that the app Termux:Boot starts
(`secateur.flash.termux_scripts`) keeps the agent running.
"""

from __future__ import annotations

import asyncio
import json
import shlex
import time
from dataclasses import dataclass

from secateur.flash import termux_scripts as scripts
from secateur.flash.errors import FlashError
from secateur.flash.payload import BOARD_PYTHON, INSTALLED_PROGRAM, SETUP_PROGRAM, Payload
from secateur.flash.phone import Phone, Say
from secateur.flash.sending import send_payload
from secateur.flash.ssh_jobs import PayloadFor
from secateur.flash.target import target_of
from secateur.flash.termux_debian import Facts, ensure_debian, in_debian, look, remove_debian

SETUP_LIMIT_S = 1800.0
"""proot makes each system call several times as slow, and a phone's storage is no faster than a card."""
START_LIMIT_S = 180.0
STEADY_S = 10.0
"""An agent that has run for so long has started."""
_MOST_STARTS = 6
_SPARE_MB = 160
_PAYLOAD_MOUNT = "/mnt/secateur-payload"
_LOG = f"~/{scripts.FOLDER}/agent.log in Termux"


@dataclass(frozen=True)
class Flashed:
    """How it went: the phone's system, what runs, and the bytes that were sent."""

    system: str
    release: str
    sent_bytes: int


async def flash_phone(phone: Phone, device: str, payload_for: PayloadFor, say: Say) -> Flashed:
    """Install or upgrade the agent on a phone, and start it.

    Args:
        phone: an open way into Termux.
        device: the device's id.
        payload_for: makes what it gets.
        say: told of every step.

    Raises:
        FlashError: if it cannot be installed, and what ran before runs on; or if it does not stay up, and the release before
            it is taken back by the phone itself.
        secateur.flash.target.TargetError: if the agent cannot run on such a phone.
    """
    facts = await look(phone)
    probed = await ensure_debian(phone, facts, say)
    target = target_of(probed, phone.where)
    _check_room(phone, probed, 0)
    now = await _installed(phone)
    payload = await asyncio.to_thread(payload_for, device, target, now.get("device") == device)
    release = str(json.loads(payload.files["provision.json"].read())["release"])
    left_out = release in (now.get("release"), now.get("previous"))
    _check_room(phone, probed, 0 if left_out else payload.size)
    sent = await _install(phone, payload, left_out, say)
    await _write_scripts(phone, facts)
    await phone.run(scripts.stop_command(), limit_s=90)
    await _start(phone, release, say)
    if facts.boot_app is not True:
        missing = "is not installed" if facts.boot_app is False else "may not be installed (the phone does not tell)"
        say(
            f"note: the app Termux:Boot {missing}: without it the agent does not start again after the phone restarts; "
            "install it from where Termux is from, and open it once"
        )
    if not facts.flashed:
        say("note: switch off battery optimisation for Termux in the phone's settings, or Android ends it; see docs")
    return Flashed(f"{target.machine}, Python {target.python}, glibc {target.glibc}", release, sent)


async def roll_back(phone: Phone, say: Say) -> str:
    """Return to the release that ran before; return its name.

    Raises:
        FlashError: if there is none, or it does not stay up.
    """
    facts = await look(phone)
    if not facts.flashed or not (now := await _installed(phone)):
        raise FlashError(f"{phone.where}: nothing is installed there")
    if not now.get("previous"):
        raise FlashError(f"{phone.where}: there is no release before the one that runs")
    await phone.run(scripts.stop_command(), limit_s=90)
    try:
        await _setup(phone, ["rollback"], say)
    finally:
        await phone.run(scripts.start_command(phone.in_app), limit_s=90)
    release = (await _installed(phone)).get("release", "")
    await _wait_steady(phone, release, say)
    return release


async def remove(phone: Phone, say: Say) -> None:
    """Remove all that was made on a phone; Debian too, if an earlier run installed it.

    Raises:
        FlashError: if nothing is there, or something cannot be removed.
    """
    facts = await look(phone)
    if not facts.flashed:
        raise FlashError(f"{phone.where}: nothing is installed there")
    await phone.run(scripts.stop_command(), limit_s=90)
    await phone.run("command -v termux-wake-unlock >/dev/null && termux-wake-unlock </dev/null >/dev/null 2>&1; exit 0")
    say("the agent is stopped, and the wake lock is given back")
    if facts.rootfs and facts.made & {"debian", "debian.part"}:
        await remove_debian(phone)
        say("removed Debian, which 'secateur flash termux' had installed")
    elif facts.rootfs and await _installed(phone):
        await _setup(phone, ["remove"], say)
        if "python3" in facts.made:
            say("note: python3, which was installed in your Debian for the agent, is left there")
    folder = '"$HOME/.termux/boot"'
    more = f"; rmdir {folder} 2>/dev/null" if "boot-folder" in facts.made else ""
    answer = await phone.run(
        f'rm -f "$HOME/{scripts.BOOT}" && rm -rf "$HOME/{scripts.FOLDER}"{more}; test ! -e "$HOME/{scripts.FOLDER}"'
    )
    if answer.code:
        raise FlashError(f"{phone.where}: ~/{scripts.FOLDER} cannot be removed: {answer.complaint}")
    say(f"removed ~/{scripts.BOOT} and ~/{scripts.FOLDER}")


def _check_room(phone: Phone, probed: dict[str, object], size: int) -> None:
    free = probed.get("free_mb")
    # Sent, unpacked about three times as large, and the release before stays.
    needed = _SPARE_MB + (4 * size >> 20)
    if isinstance(free, int) and free < needed:
        raise FlashError(f"{phone.where}: {free} MB are free, about {needed} are needed; make room there")


async def _installed(phone: Phone) -> dict[str, str]:
    """What is installed in Debian: ``device``, ``release``, ``previous``; empty if nothing is."""
    answer = await in_debian(phone, [BOARD_PYTHON, "-I", INSTALLED_PROGRAM, "status"])
    try:
        found = json.loads(answer.out) if answer.code == 0 else {}
    except (ValueError, RecursionError):
        return {}
    return {str(key): str(value) for key, value in found.items()} if isinstance(found, dict) else {}


async def _install(phone: Phone, payload: Payload, left_out: bool, say: Say) -> int:
    folder = await _folder(phone)
    try:
        sent = await send_payload(phone.upload, payload, folder, left_out, say)
        say("installing")
        command = [f"{_PAYLOAD_MOUNT}/{SETUP_PROGRAM}", "install", _PAYLOAD_MOUNT, "--no-wait"]
        answer = await in_debian(
            phone, [BOARD_PYTHON, "-I", *command], bind=f"{folder}:{_PAYLOAD_MOUNT}", limit_s=SETUP_LIMIT_S, say=say
        )
    finally:
        clean = f'rmdir "$HOME/{scripts.FOLDER}" 2>/dev/null; exit 0'
        await phone.run(f"rm -rf {shlex.quote(folder)}; {clean}")
    if answer.code:
        reason = answer.complaint.removeprefix("secateur-setup: ") or f"exit status {answer.code}"
        raise FlashError(f"{phone.where}: {reason}")
    return sent


async def _folder(phone: Phone) -> str:
    where = f'"$HOME/{scripts.FOLDER}"'
    answer = await phone.run(f"umask 077; mkdir -p {where} && mktemp -d {where}/payload.XXXXXXXX")
    path = answer.out.strip()
    if answer.code or not path.startswith("/"):
        raise FlashError(f"{phone.where}: no folder for the payload: {answer.complaint}")
    return path


async def _setup(phone: Phone, arguments: list[str], say: Say) -> None:
    answer = await in_debian(phone, [BOARD_PYTHON, "-I", INSTALLED_PROGRAM, *arguments], limit_s=SETUP_LIMIT_S, say=say)
    if answer.code:
        raise FlashError(f"{phone.where}: {answer.complaint.removeprefix('secateur-setup: ')}")


async def _write_scripts(phone: Phone, facts: Facts) -> None:
    """Put both scripts in place as a whole; note whether the folder for Termux:Boot was there."""
    folder = f"{facts.home}/{scripts.FOLDER}"
    boot = f"{facts.home}/{scripts.BOOT}"
    prepared = (
        f'umask 077; mkdir -p "$HOME/{scripts.FOLDER}/made"; test -d "$HOME/.termux/boot" || '
        f'{{ touch "$HOME/{scripts.FOLDER}/made/boot-folder" && mkdir -p "$HOME/.termux/boot"; }}'
    )
    answer = await phone.run(prepared)
    if answer.code:
        raise FlashError(f"{phone.where}: ~/.termux/boot cannot be made: {answer.complaint}")
    for path, text in (
        (f"{folder}/{scripts.INSIDE}", scripts.inside_script()),
        (boot, scripts.boot_script(facts.prefix, facts.home)),
    ):
        # Termux:Boot runs every file in its folder, so drafts lie elsewhere.
        draft = f"{folder}/draft"
        await phone.upload(draft, text.encode(), lambda _: None)
        answer = await phone.run(f"chmod 700 {shlex.quote(draft)} && mv -f {shlex.quote(draft)} {shlex.quote(path)}")
        if answer.code:
            raise FlashError(f"{phone.where}: {path} cannot be written: {answer.complaint}")


async def _start(phone: Phone, release: str, say: Say) -> None:
    answer = await phone.run(scripts.start_command(phone.in_app), limit_s=90)
    if answer.code:
        raise FlashError(f"{phone.where}: ~/{scripts.BOOT} does not start: {answer.complaint or 'it ended'}; see {_LOG}")
    await _wait_steady(phone, release, say)


async def _wait_steady(phone: Phone, release: str, say: Say) -> None:
    """Wait until the agent has run for a while and is the one that is wanted.

    Raises:
        FlashError: if it keeps ending, or the release before was taken back for that reason.
    """
    say("waiting until the agent has started")
    command = (
        f'a=$(cat "$HOME/{scripts.FOLDER}/agent.pid" 2>/dev/null)\n'
        '[ -n "$a" ] && kill -0 "$a" 2>/dev/null && echo "$a"; exit 0'
    )
    deadline, seen, since, starts = time.monotonic() + START_LIMIT_S, "", 0.0, 0
    while time.monotonic() < deadline and starts <= _MOST_STARTS:
        agent = (await phone.run(command)).out.strip()
        if agent and agent == seen and time.monotonic() - since >= STEADY_S:
            runs = (await _installed(phone)).get("release", "")
            if runs != release:
                raise FlashError(f"{phone.where}: {release} did not stay up; {runs} runs again; see {_LOG}")
            return
        if agent != seen:
            seen, since, starts = agent, time.monotonic(), starts + bool(agent)
        await asyncio.sleep(0.5)
    said = (await phone.run(f'grep -v " secateur: " "$HOME/{scripts.FOLDER}/agent.log" | tail -n 1')).out.strip()[:200]
    raise FlashError(f"{phone.where}: the agent does not stay up{f' ({said})' if said else ''}; see {_LOG}")
