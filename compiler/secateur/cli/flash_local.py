"""``secateur flash local``."""

from __future__ import annotations

import platform
import sys
from collections.abc import Callable
from typing import Annotated

import typer

from secateur.cli.console import print_fields, print_json
from secateur.cli.flash_births import last_births, wait_for_births
from secateur.cli.flash_payload import Payloads, with_payload
from secateur.cli.flash_ssh import teller
from secateur.cli.options import JsonOption
from secateur.flash import local as this_machine
from secateur.flash.errors import FlashError
from secateur_agent.protocol.topics import TopicError, checked_id


def register(group: typer.Typer) -> None:
    """Add the command."""
    group.command("local")(with_payload(local, later=True))


def local(
    payloads: Callable[[], Payloads],
    device_id: Annotated[
        str, typer.Option("--id", metavar="ID", help="Id of the device. Default: the host's name.", show_default=False)
    ] = "",
    rollback: Annotated[bool, typer.Option("--rollback", help="Return to the agent that ran before, instead.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Make this machine a device of the fleet.

    Needs root, and asks for it by sudo. The agent runs as a service of its own account, with the system's own Python;
    'secateur unflash' removes all of it.

    \b
    Example:
      secateur flash local --profile linux-x86-64 --id bench-1 --broker-folder ~/secateur-broker
    """
    try:
        device = checked_id(device_id or platform.node().split(".")[0])
    except TopicError as error:
        raise FlashError(f"{error}; name the device with --id") from None
    told = teller(as_json)
    if rollback:
        if not this_machine.INSTALLED.is_file():
            raise FlashError("this machine: nothing is installed")
        this_machine.run_setup(this_machine.INSTALLED, ["rollback"], lambda line: told(device, line))
        return
    made = payloads()
    this_machine.check_service()
    target = this_machine.local_target()
    before = last_births(made.access.state, [device]) if made.access.broker else None
    payload = made.payload_on(device, target, this_machine.local_device() == device)
    this_machine.install(payload, lambda line: told(device, line))
    births = wait_for_births(made.access.state, before, [device], told)
    if before is not None and not births[device]:
        raise FlashError(f"{device}: did not introduce itself to the host; see 'journalctl -u secateur-agent'")
    if before is None and made.access.broker:
        print("no controller runs here: that the device reaches it is not checked", file=sys.stderr)
    if as_json:
        print_json({"device": device, "system": target.name, "enrolled": births[device]})
        return
    print_fields([("device", device), ("system", target.name), ("enrolled", births[device])])
