"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from secateur.bundle.keys import default_folder
from secateur.fleet.client import HostClient
from secateur.fleet.host_file import default_state

StateOption = Annotated[
    Path | None,
    typer.Option(
        "--state",
        envvar="SECATEUR_STATE",
        metavar="DIR",
        help="State folder of the controller. Default: $XDG_STATE_HOME/secateur/host.",
        show_default=False,
    ),
]
UrlOption = Annotated[
    str,
    typer.Option(
        "--host-url",
        metavar="URL",
        help="Where the controller listens, if not where host.json of its state folder says.",
        show_default=False,
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
KeysOption = Annotated[
    Path | None,
    typer.Option(
        "--keys",
        envvar="SECATEUR_KEYS",
        metavar="DIR",
        help="Folder of the signing keys. Default: $XDG_CONFIG_HOME/secateur/keys.",
        show_default=False,
    ),
]
DeviceArgument = Annotated[str, typer.Argument(metavar="DEVICE", help="Id of the device.", show_default=False)]


def find_host(state: Path | None, url: str) -> HostClient:
    """Return a client of the running controller.

    Raises:
        secateur.fleet.host_file.HostFileError: if none is running.
    """
    return HostClient.find(state_folder(state), url)


def state_folder(state: Path | None) -> Path:
    """Return the state folder that was given, or the default."""
    return state or default_state()


def keys_folder(keys: Path | None) -> Path:
    """Return the folder of the keys that was given, or the default."""
    return keys or default_folder()
