"""``secateur unflash``."""

from __future__ import annotations

import asyncio
import sys
from typing import Annotated

import typer

from secateur.cli.flash_ssh import (
    AcceptOption,
    AskOption,
    AskSudoOption,
    AtOnceOption,
    IdentityOption,
    KnownHostsOption,
    UserOption,
    finish,
    make_jobs,
    make_login,
    teller,
)
from secateur.cli.options import JsonOption
from secateur.flash import local
from secateur.flash.errors import FlashError
from secateur.flash.ssh_jobs import AT_ONCE


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("unflash")(unflash)


def unflash(
    hosts: Annotated[
        list[str] | None,
        typer.Argument(metavar="[[ID=]HOST...]", help="Boards to clean over SSH; none: this machine.", show_default=False),
    ] = None,
    keep_state: Annotated[
        bool, typer.Option("--keep-state", help="Keep the device's key, its models and samples that were not sent.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    identity: IdentityOption = None,
    user: UserOption = "",
    ask_password: AskOption = False,
    ask_sudo_password: AskSudoOption = False,
    accept_new_host_keys: AcceptOption = False,
    known_hosts: KnownHostsOption = None,
    at_once: AtOnceOption = AT_ONCE,
    as_json: JsonOption = False,
) -> None:
    """Remove the agent and all that it made: service, account, programs, configuration, models, key.

    What the host knows stays: 'secateur devices forget' and 'secateur broker remove-device' end that.

    \b
    Examples:
      secateur unflash
      secateur unflash pi@cam-1.local
    """
    jobs = make_jobs(hosts or [], user)
    told = teller(as_json)
    where = ", ".join(str(job.address) for job in jobs) or "this machine"
    if not yes:
        if not sys.stdin.isatty():
            raise FlashError(f"{where}: nobody can be asked; '--yes' says that the agent may be removed")
        if not typer.confirm(f"remove the agent from {where}{'' if keep_state else ', its key and models too'}?", err=True):
            raise FlashError("nothing was removed")
    arguments = ["remove", *(["--keep-state"] if keep_state else [])]
    if jobs:
        from secateur.flash.ssh import run_setup

        login = make_login(identity, ask_password, ask_sudo_password, accept_new_host_keys, known_hosts)
        finish(asyncio.run(run_setup(jobs, login, arguments, told, at_once)), {}, as_json)
        return
    if not local.INSTALLED.is_file():
        raise FlashError("this machine: nothing is installed")
    local.run_setup(local.INSTALLED, arguments, lambda line: told("this machine", line))
