"""``secateur broker``: the embedded broker, and the configuration of a mosquitto for other machines."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from secateur.cli.console import print_fields, print_json
from secateur.cli.options import DeviceArgument, JsonOption

FolderOption = Annotated[Path, typer.Option("--folder", "-o", metavar="DIR", help="The folder of 'broker config'.")]

_HELP = """Run the embedded MQTT broker until Ctrl-C, or configure a mosquitto.

Alone, this runs a broker for one machine and for demonstrations: it listens on loopback only and forgets everything when it
ends; controller and agents then tell it again. For other machines 'broker config' writes the configuration of a mosquitto
with TLS, a password for each device and access rules.
"""


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(help=_HELP, invoke_without_command=True, rich_markup_mode=None)
    group.callback()(run)
    group.command("config")(config)
    group.command("add-device")(add_device)
    group.command("remove-device")(remove_device)
    app.add_typer(group, name="broker")


def run(
    context: typer.Context,
    port: Annotated[int, typer.Option(help="TCP port.", min=1, max=65535)] = 1883,
    host: Annotated[str, typer.Option(help="Loopback address to listen on.")] = "127.0.0.1",
) -> None:
    """Run the embedded broker unless a subcommand was named."""
    if context.invoked_subcommand is not None:
        return
    from secateur.fleet.broker import run_embedded

    run_embedded(host, port)
    sys.stdout.flush()
    os._exit(0)  # the broker's threads cannot be stopped


def config(
    folder: Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="Where to write it.")],
    host: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Name that devices reach this machine by; may be repeated.", show_default=False),
    ] = None,
    ip: Annotated[
        list[str] | None,
        typer.Option(metavar="ADDRESS", help="Address that devices reach it by; may be repeated.", show_default=False),
    ] = None,
    port: Annotated[
        int | None, typer.Option(help="TCP port of the broker. Default: 8883.", min=1, max=65535, show_default=False)
    ] = None,
    listen: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="Address that it listens on. Default: all.", show_default=False)
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Write the configuration of a mosquitto for one machine: TLS, a password for each device, access rules.

    Needs no mosquitto and starts none. Run it again at any time: keys and passwords stay, certificates near their end are
    renewed, what is not given stays as it was. Without --host and --ip devices reach this machine as NAME.local.

    \b
    Example:
      secateur broker config -o ~/secateur-broker --host broker.local --ip 192.168.1.10
    """
    from secateur.fleet.broker_folder import configure

    done = configure(folder, host or (), ip or (), port, listen)
    made = done.folder
    files = {
        "configuration": made.path / "mosquitto.conf",
        "ca": made.ca_path,
        "controller_password": made.controller_password_path,
        "drop_in": made.path / "systemd-drop-in.conf",
    }
    if as_json:
        found = {name: str(path) for name, path in files.items()}
        print_json(
            {
                "folder": str(made.path),
                **found,
                "broker": made.url,
                "controller_broker": made.controller_url,
                "devices": made.devices(),
                "new_ca": done.new_ca,
                "new_server_certificate": done.new_server,
                "told": done.told,
            }
        )
        return
    drop_in = "/etc/systemd/system/mosquitto.service.d/secateur.conf"
    login = f"--password-file {files['controller_password']} --ca-file {files['ca']}"
    serve = f"secateur serve --broker {made.controller_url} {login}"
    print_fields(
        [
            ("devices connect to", made.url),
            ("and trust", f"{files['ca']}{' (new: every device needs it)' if done.new_ca else ''}"),
            ("devices so far", str(len(made.devices()))),
            ("start it", f"mosquitto -c {files['configuration']}"),
            ("or at each boot", f"sudo install -D -m 644 {files['drop_in']} {drop_in}"),
            ("", "sudo systemctl daemon-reload && sudo systemctl restart mosquitto"),
            ("then", serve),
            ("running mosquitto", "was told to read it again; a new port or address needs a restart" if done.told else ""),
        ]
    )


def add_device(
    device: DeviceArgument,
    folder: FolderOption,
    out: Annotated[
        Path | None,
        typer.Option(
            "--password-file",
            metavar="FILE",
            help="Where to write it, instead of printing it.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Give a device a password, a new one if it has one already; a running mosquitto is told.

    'secateur flash' does this by itself. The device's configuration then has its id as username, and the password in its
    password_file.
    """
    from secateur.fleet.broker_folder import BrokerFolder
    from secateur_agent.store import write_atomic

    opened = BrokerFolder(folder)
    if out is None:
        print(opened.add_device(device))
        return
    # Before the password of before ends: it must not turn out afterwards that the new one cannot be written.
    write_atomic(out.absolute(), b"", mode=0o600)
    write_atomic(out.absolute(), f"{opened.add_device(device)}\n".encode(), mode=0o600)
    print(f"password of {device}: {out}")


def remove_device(device: DeviceArgument, folder: FolderOption) -> None:
    """Take a device's password away: it cannot connect any more. A running mosquitto is told."""
    from secateur.fleet.broker_folder import BrokerFolder

    had = BrokerFolder(folder).remove_device(device)
    print(f"{device} {'can connect no more' if had else 'had no password'}")
