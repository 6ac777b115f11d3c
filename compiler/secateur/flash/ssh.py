"""Flashes boards that run already, over SSH: the same payload and the same setup program as on a card."""

from __future__ import annotations

import asyncio
import json
import shlex
from collections.abc import Sequence

from secateur.flash.errors import FlashError
from secateur.flash.payload import BOARD_PYTHON, INSTALLED_PROGRAM, SETUP_PROGRAM, Payload
from secateur.flash.sending import send_payload
from secateur.flash.ssh_address import Login
from secateur.flash.ssh_host import BoardConnection
from secateur.flash.ssh_jobs import AT_ONCE, Job, Outcome, PayloadFor, Told
from secateur.flash.target import TargetError, check_systemd, target_of

SETUP_LIMIT_S = 900.0
_SPARE_MB = 160


async def flash_hosts(
    jobs: Sequence[Job], login: Login, payload_for: PayloadFor, told: Told, at_once: int = AT_ONCE
) -> list[Outcome]:
    """Flash several boards; one that fails does not hold up the others.

    Args:
        jobs: the boards.
        login: how to log in.
        payload_for: makes what a board gets.
        told: told of every step.
        at_once: how many at the same time.

    Returns:
        One outcome for each, in order.
    """
    slots, making = asyncio.Semaphore(at_once), asyncio.Lock()

    async def one(job: Job) -> Outcome:
        async with slots:
            try:
                return await _flash(job, login, payload_for, told, making)
            except ValueError as error:  # all errors of ours are ValueErrors of one line
                return Outcome(job, problem=" ".join(str(error).split()))

    return list(await asyncio.gather(*(one(job) for job in jobs)))


async def _flash(job: Job, login: Login, payload_for: PayloadFor, told: Told, making: asyncio.Lock) -> Outcome:
    async with BoardConnection(job.address, login) as board:
        told(job.device, f"connected, host key {board.host_key}")
        probed = await board.probe()
        target = target_of(probed, str(job.address))
        check_systemd(probed, str(job.address))
        await board.become_root(int(probed.get("uid", -1)))
        _check_room(job, probed, 0)
        same = await _device_now(board) == job.device
        async with making:
            payload = await asyncio.to_thread(payload_for, job.device, target, same)
        left_out = await _already_there(board, payload)
        _check_room(job, probed, 0 if left_out else payload.size)
        folder = await _folder(board)
        try:
            sent = await send_payload(board.upload, payload, folder, left_out, lambda text: told(job.device, text))
            told(job.device, "installing")
            command = [BOARD_PYTHON, "-I", f"{folder}/{SETUP_PROGRAM}", "install", folder]
            code, _, complaint = await board.run_as_root(command, lambda line: told(job.device, line), SETUP_LIMIT_S)
        finally:
            await board.run(f"rm -rf {shlex.quote(folder)}")
        if code:
            raise FlashError(f"{job.address}: {complaint.removeprefix('secateur-setup: failed: ')}")
        system = f"{target.machine}, Python {target.python}, glibc {target.glibc}"
        return Outcome(job, "installed", "", system, sent, board.host_key)


async def _device_now(board: BoardConnection) -> str:
    """The id of the device that the board is already; '' if nothing is installed."""
    code, out, _ = await board.run(f"test -f {INSTALLED_PROGRAM} && {BOARD_PYTHON} -I {INSTALLED_PROGRAM} status")
    try:
        return str(json.loads(out)["device"]) if code == 0 else ""
    except (ValueError, KeyError, TypeError, RecursionError):
        return ""


async def _already_there(board: BoardConnection, payload: Payload) -> bool:
    """Whether the board has this very environment from before; then it is not sent again."""
    release = str(json.loads(payload.files["provision.json"].read())["release"])
    code, _, _ = await board.run(f"test -d /opt/secateur/releases/{shlex.quote(release)}")
    return code == 0


def _check_room(job: Job, probed: dict[str, object], size: int) -> None:
    free = probed.get("free_mb")
    # Sent, unpacked about three times as large, and the release before stays.
    needed = _SPARE_MB + (4 * size >> 20)
    if isinstance(free, int) and free < needed:
        raise FlashError(f"{job.address}: {free} MB are free, about {needed} are needed; make room there")


async def _folder(board: BoardConnection) -> str:
    # What a connection that broke has left, with its secrets.
    old = "find /var/tmp -maxdepth 1 -name 'secateur.*' -user \"$(id -un)\" -mmin +30 -exec rm -rf {} + 2>/dev/null"
    code, out, complaint = await board.run(f"{old}; umask 077; mktemp -d /var/tmp/secateur.XXXXXXXX || mktemp -d")
    if code or not out.startswith("/"):
        raise FlashError(f"{board.address}: no folder for the payload: {' '.join(complaint.split())[:200]}")
    return out.strip()


async def run_setup(
    jobs: Sequence[Job], login: Login, arguments: Sequence[str], told: Told, at_once: int = AT_ONCE
) -> list[Outcome]:
    """Run the setup program that is installed on boards: ``rollback`` or ``remove``."""
    slots = asyncio.Semaphore(at_once)

    async def one(job: Job) -> Outcome:
        async with slots:
            try:
                async with BoardConnection(job.address, login) as board:
                    probed = await board.probe()
                    await board.become_root(int(probed.get("uid", -1)))
                    command = [BOARD_PYTHON, "-I", INSTALLED_PROGRAM, *arguments]
                    code, out, complaint = await board.run_as_root(
                        command, lambda line: told(job.device, line), SETUP_LIMIT_S
                    )
                    if code and "can't open file" in complaint:
                        raise FlashError(f"{job.address}: nothing is installed there")
                    if code:
                        raise FlashError(f"{job.address}: {complaint.removeprefix('secateur-setup: failed: ')}")
                    return Outcome(job, out.splitlines()[-1] if out else "done", host_key=board.host_key)
            except (ValueError, TargetError) as error:
                return Outcome(job, problem=" ".join(str(error).split()))

    return list(await asyncio.gather(*(one(job) for job in jobs)))
