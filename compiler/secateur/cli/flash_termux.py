"""``secateur flash termux``."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import Annotated

import typer

from secateur.cli.console import print_fields, print_json, size
from secateur.cli.flash_births import last_births, wait_for_births
from secateur.cli.flash_payload import Payloads, with_payload
from secateur.cli.flash_ssh import (
    AcceptOption,
    AskOption,
    IdentityOption,
    KnownHostsOption,
    UserOption,
    make_jobs,
    make_login,
    teller,
)
from secateur.cli.options import JsonOption
from secateur.flash.adb import open_phone
from secateur.flash.errors import FlashError
from secateur.flash.phone import Phone, Say
from secateur.flash.ssh_address import Address, Login
from secateur.flash.termux import Flashed, flash_phone, remove, roll_back
from secateur_agent.protocol.topics import TopicError, checked_id

_Way = Callable[[Say], AbstractAsyncContextManager[Phone]]


def register(group: typer.Typer) -> None:
    """Add the command."""
    group.command("termux")(with_payload(termux, profile="android-phone", later=True))


def termux(
    payloads: Callable[[], Payloads],
    phone: Annotated[
        str,
        typer.Argument(
            metavar="[[ID=]HOST|SERIAL]",
            help="The phone: its address (port 8022), or with --adb its serial number.",
            show_default=False,
        ),
    ] = "",
    adb: Annotated[bool, typer.Option("--adb", help="Go in by adb, over USB; SERIAL says which of several phones.")] = False,
    device_id: Annotated[
        str,
        typer.Option("--id", metavar="ID", help="Id of the device. Default: the first part of HOST.", show_default=False),
    ] = "",
    identity: IdentityOption = None,
    user: UserOption = "",
    ask_password: AskOption = False,
    accept_new_host_keys: AcceptOption = False,
    known_hosts: KnownHostsOption = None,
    rollback: Annotated[bool, typer.Option("--rollback", help="Return to the agent that ran before, instead.")] = False,
    remove_all: Annotated[
        bool, typer.Option("--remove", help="Remove the agent and all that was made on the phone, instead.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Make an Android phone with Termux a device of the fleet, or upgrade its agent.

    The agent runs in a Debian inside Termux (proot-distro). It is started now, whenever it ends, and when the phone has
    started, for which the app Termux:Boot must be there. The phone needs Termux with proot-distro and, unless --adb is
    given, an SSH server: 'pkg install proot-distro openssh', 'passwd', 'sshd'. Without a Debian it needs a network once.
    --adb needs Termux's build from GitHub: others do not let adb in. The profile is android-phone unless --profile says
    another one. See docs/flash-phones.md for what a phone cannot do.

    \b
    Examples:
      secateur flash termux phone-1=192.168.1.30 --ask-password --accept-new-host-keys --broker-folder ~/secateur-broker
      secateur flash termux --adb --id phone-1 --broker-folder ~/secateur-broker
      secateur flash termux --adb phone-1=R58M12ABCDE --no-broker
      secateur flash termux 192.168.1.30 --remove
    """
    if rollback and remove_all:
        raise FlashError("--rollback and --remove: give one of them")
    others = rollback or remove_all
    device, where = _names(phone, device_id)
    if adb:
        # To go back or clean up, the phone is enough.
        label = device or where or "phone" if others else _checked(device)
        way: _Way = partial(_by_adb, where)
    else:
        if not where:
            raise FlashError("which phone? give its address, or --adb")
        (job,) = make_jobs([f"{device}={where}" if device else f"phone={where}" if others else where], user)
        label = device or (str(job.address) if others else job.device)
        login = make_login(identity, ask_password, False, accept_new_host_keys, known_hosts)
        way = partial(_by_ssh, job.address, login)
    told = teller(as_json)
    if others:
        _undo(way, label, partial(told, label), remove_all, as_json)
        return
    made = payloads()
    before = last_births(made.access.state, [label]) if made.access.broker else None
    done = asyncio.run(_flash(way, label, made, partial(told, label)))
    births = wait_for_births(made.access.state, before, [label], told)
    if before is not None and not births[label]:
        raise FlashError(f"{label}: did not introduce itself to the host; see ~/.secateur/agent.log in Termux")
    if before is None and made.access.broker:
        print("no controller runs here: that the phone reaches it is not checked", file=sys.stderr)
    fields = {"device": label, "system": done.system, "release": done.release, "enrolled": births[label]}
    if as_json:
        print_json({**fields, "sent_bytes": done.sent_bytes})
        return
    print_fields([*fields.items(), ("sent", size(done.sent_bytes))])


def _names(phone: str, device_id: str) -> tuple[str, str]:
    """The device's id, if it was given, and which phone."""
    given, equals, where = phone.partition("=")
    if not equals:
        return device_id, phone
    if device_id not in ("", given):
        raise FlashError(f"--id {device_id}: the phone is named {given[:80]} already")
    return given, where


def _checked(device: str) -> str:
    try:
        return checked_id(device)
    except TopicError as error:
        raise FlashError(f"{error}; say the device's id with --id") from None


@asynccontextmanager
async def _by_adb(serial: str, say: Say) -> AsyncIterator[Phone]:
    async with open_phone(serial) as phone:
        say(f"connected by adb to {phone.where}")
        yield phone


@asynccontextmanager
async def _by_ssh(address: Address, login: Login, say: Say) -> AsyncIterator[Phone]:
    from secateur.flash.termux_ssh import TermuxSsh

    async with TermuxSsh(address, login) as phone:
        say(f"connected, host key {phone.host_key}")
        yield phone


async def _flash(way: _Way, device: str, payloads: Payloads, say: Say) -> Flashed:
    async with way(say) as phone:
        return await flash_phone(phone, device, payloads.payload_on, say)


def _undo(way: _Way, label: str, say: Say, remove_all: bool, as_json: bool) -> None:
    async def undo() -> str:
        async with way(say) as phone:
            if remove_all:
                await remove(phone, say)
                return ""
            return await roll_back(phone, say)

    release = asyncio.run(undo())
    if as_json:
        print_json({"phone": label, "removed": remove_all, "release": release})
    else:
        say("nothing of the agent is left there" if remove_all else f"{release} runs again")
