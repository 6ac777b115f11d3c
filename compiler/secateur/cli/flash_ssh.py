"""``secateur flash ssh``, and ``secateur unflash`` of boards that are reached over SSH."""

from __future__ import annotations

import asyncio
import ipaddress
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from secateur.cli.console import print_json, print_table, printable, size
from secateur.cli.flash_births import last_births, wait_for_births
from secateur.cli.flash_payload import Payloads, with_payload
from secateur.cli.options import JsonOption
from secateur.flash.errors import FlashError
from secateur.flash.ssh_address import Address, Login
from secateur.flash.ssh_jobs import AT_ONCE, Job, Outcome
from secateur_agent.protocol.topics import TopicError, checked_id

_PASSWORD_VARIABLE = "SECATEUR_SSH_PASSWORD"

HostsArgument = Annotated[
    list[str],
    typer.Argument(metavar="[ID=]HOST...", help="Boards: user@host, or cam-1=user@host:port.", show_default=False),
]
IdentityOption = Annotated[Path | None, typer.Option(metavar="FILE", help="Private key to log in with.", show_default=False)]
UserOption = Annotated[str, typer.Option(metavar="NAME", help="Who to log in as, unless HOST says it.", show_default=False)]
AskOption = Annotated[
    bool, typer.Option("--ask-password", help=f"Ask for the login's password. Or set {_PASSWORD_VARIABLE}.")
]
AskSudoOption = Annotated[bool, typer.Option("--ask-sudo-password", help="Ask for the password of sudo, if it is another.")]
AcceptOption = Annotated[
    bool, typer.Option("--accept-new-host-keys", help="Take and keep the key of a board that was never seen before.")
]
KnownHostsOption = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Known host keys. Default: ~/.ssh/known_hosts.", show_default=False)
]
AtOnceOption = Annotated[int, typer.Option(help="How many boards at the same time.", min=1, max=64)]


def register(group: typer.Typer) -> None:
    """Add the command."""
    group.command("ssh")(with_payload(ssh, later=True))


def ssh(
    payloads: Callable[[], Payloads],
    hosts: HostsArgument,
    identity: IdentityOption = None,
    user: UserOption = "",
    ask_password: AskOption = False,
    ask_sudo_password: AskSudoOption = False,
    accept_new_host_keys: AcceptOption = False,
    known_hosts: KnownHostsOption = None,
    at_once: AtOnceOption = AT_ONCE,
    rollback: Annotated[bool, typer.Option("--rollback", help="Return to the agent that ran before, instead.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Make boards that run already devices of the fleet, or upgrade their agent.

    For a Jetson, a Raspberry Pi or any board with systemd and Python 3.10 or later that you can log in to and where you may
    use sudo. The board needs no network but this connection: its environment is made here for its Python and C library, and
    sent. ID is the device's id; without one it is the first part of the host's name.

    The agent that runs goes on until the new one is unpacked beside it. If the new one does not start, or does not serve
    the model that the old one served, the board returns to the old one by itself. A board that the host knows keeps its key
    and its password. One that fails does not hold up the others; then the exit status is 1.

    \b
    Examples:
      secateur flash ssh pi@cam-1.local --profile raspberry-pi-5 --broker-folder ~/secateur-broker
      secateur flash ssh cam-1=pi@192.168.1.20 cam-2=pi@192.168.1.21 --profile raspberry-pi-4b --broker-folder …
      secateur flash ssh nano@jetson.local --profile jetson-orin-nano --extra-wheels ./wheels --broker-folder …
      secateur flash ssh pi@cam-1.local --rollback
    """
    from secateur.flash.ssh import flash_hosts, run_setup

    jobs = make_jobs(hosts, user)
    # First of all, so that nobody is asked for a password in vain.
    made = None if rollback else payloads()
    login = make_login(identity, ask_password, ask_sudo_password, accept_new_host_keys, known_hosts)
    told = teller(as_json)
    if made is None:
        finish(asyncio.run(run_setup(jobs, login, ["rollback"], told, at_once)), {}, as_json)
        return
    devices = [job.device for job in jobs]
    before = last_births(made.access.state, devices) if made.access.broker else None
    outcomes = asyncio.run(flash_hosts(jobs, login, made.payload_on, told, at_once))
    installed = [outcome.job.device for outcome in outcomes if not outcome.problem]
    births = wait_for_births(made.access.state, before, installed, told) if installed else {}
    if before is not None:
        outcomes = [
            msgspec.structs.replace(
                each, problem="it did not introduce itself to the host; see 'journalctl -u secateur-agent' there"
            )
            if not each.problem and not births[each.job.device]
            else each
            for each in outcomes
        ]
    elif made.access.broker:
        print("no controller runs here: that the boards reach it is not checked", file=sys.stderr)
    finish(outcomes, births, as_json)


def make_jobs(hosts: Sequence[str], user: str) -> list[Job]:
    """Parse ``[ID=]HOST``.

    Raises:
        FlashError: if a host is malformed, an id is missing, or one is given twice.
    """
    jobs = []
    for text in hosts:
        given, equals, host = text.partition("=")
        address = Address.parse(host if equals else text)
        if user and not address.user:
            address = Address(address.host, user, address.port)
        jobs.append(Job(address, _device(given if equals else "", address)))
    for names in ([job.device for job in jobs], [str(job.address) for job in jobs]):
        twice = next((name for name in names if names.count(name) > 1), "")
        if twice:
            raise FlashError(f"{twice}: is given twice; every board has an id of its own")
    return jobs


def _device(given: str, address: Address) -> str:
    """The id that was given, or the first part of the host's name: never a number that a cloned card would share."""
    try:
        ipaddress.ip_address(address.host)
    except ValueError:
        given = given or address.host.split(".")[0]
    try:
        return checked_id(given)
    except TopicError as error:
        hint = "" if given else f"; say the device's id: ID={address}"
        raise FlashError(f"{address}: {error}{hint}") from None


def make_login(
    identity: Path | None, ask_password: bool, ask_sudo_password: bool, accept_new: bool, known_hosts: Path | None
) -> Login:
    """Ask for passwords, if that is wanted.

    Raises:
        FlashError: if the key file is not there, or nobody can be asked.
    """
    if identity is not None and not identity.is_file():
        raise FlashError(f"--identity {identity}: no such file")
    password = os.environ.get(_PASSWORD_VARIABLE, "")
    if ask_password:
        password = _asked("password of the login")
    sudo = _asked("password of sudo") if ask_sudo_password else ""
    return Login(identity, password, sudo, accept_new, known_hosts)


def _asked(what: str) -> str:
    if not sys.stdin.isatty():
        raise FlashError(f"{what}: nobody can be asked; set {_PASSWORD_VARIABLE}")
    return str(typer.prompt(what, hide_input=True, err=True))


def teller(quiet: bool) -> Callable[[str, str], None]:
    """Return what tells of steps: one line each, on standard error if standard output is for a program."""
    out = sys.stderr if quiet else sys.stdout

    def told(device: str, text: str) -> None:
        print(f"{device}: {printable(' '.join(text.removeprefix('secateur-setup: ').split()))}", file=out, flush=True)

    return told


def finish(outcomes: Sequence[Outcome], births: dict[str, str], as_json: bool) -> None:
    """Print how it went; exit 1 if a board failed."""
    if as_json:
        print_json(
            [
                {
                    "device": each.job.device,
                    "host": str(each.job.address),
                    "text": each.text,
                    "problem": each.problem,
                    "system": each.system,
                    "sent_bytes": each.sent_bytes,
                    "host_key": each.host_key,
                    "enrolled": births.get(each.job.device, ""),
                }
                for each in outcomes
            ]
        )
    else:
        rows = [
            (
                each.job.device,
                each.job.address,
                each.problem or each.text,
                each.system,
                size(each.sent_bytes) if each.sent_bytes else "",
                births.get(each.job.device, ""),
            )
            for each in outcomes
        ]
        print()
        print_table(("device", "host", "outcome", "system", "sent", "enrolled"), rows, "")
    if any(each.problem for each in outcomes):
        for each in outcomes:
            if each.problem:
                print(f"secateur: {each.job.device}: {printable(each.problem)}", file=sys.stderr)
        raise typer.Exit(1)
