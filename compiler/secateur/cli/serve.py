"""``secateur serve`` and ``secateur broker``."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from secateur.bundle.keys import KeysError, load_or_create_keys
from secateur.cli.options import KeysOption, StateOption, keys_folder, state_folder
from secateur.cli.units import parse_duration_s


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("broker")(broker)
    app.command("serve")(serve)


def broker(
    port: Annotated[int, typer.Option(help="TCP port.", min=1, max=65535)] = 1883,
    host: Annotated[str, typer.Option(help="Loopback address to listen on.")] = "127.0.0.1",
) -> None:
    """Run the embedded MQTT broker until Ctrl-C.

    For one machine and for demonstrations: it listens on loopback only and forgets everything when it ends; controller
    and agents then tell it again. For other machines run mosquitto or another MQTT v5 broker, and give 'serve' and the
    agents its URL.
    """
    from secateur.fleet.broker import run_embedded

    run_embedded(host, port)
    sys.stdout.flush()
    os._exit(0)  # the broker's threads cannot be stopped


def serve(
    broker: Annotated[
        str, typer.Option(metavar="URL", help="The MQTT v5 broker: mqtt://[user@]host[:port] or mqtts://….")
    ] = "mqtt://127.0.0.1:1883",
    listen: Annotated[
        str, typer.Option(metavar="HOST:PORT", help="Where the REST API listens; port 0 takes a free one.")
    ] = "127.0.0.1:8700",
    state: StateOption = None,
    keys: KeysOption = None,
    password_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="File with the broker's password.", show_default=False)
    ] = None,
    ca_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="CA certificate of an mqtts broker.", show_default=False)
    ] = None,
    rate: Annotated[
        float,
        typer.Option(metavar="MB_PER_S", help="Cap on model chunks; 0 for none.", min=0),
    ] = 20.0,
    gather: Annotated[
        str, typer.Option(metavar="TIME", help="How long a push waits for all its devices before it broadcasts.")
    ] = "5s",
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Log errors only.")] = False,
) -> None:
    """Run the controller until Ctrl-C.

    It stores telemetry, publishes models, answers re-prune asks and offers a REST API. The other commands talk to it;
    they find it through host.json in its state folder, which also holds the token of the API. It may start before the
    broker, and may be killed at any time: what it acknowledged is on disk, and pushes go on after the next start.
    Bundles are read from where they were pushed from, so leave them there.

    \b
    Example:
      secateur serve --broker mqtts://host@broker.example --password-file /etc/secateur/broker-password
    """
    from secateur.fleet import serve as fleet
    from secateur.fleet.session import BrokerUrl, BrokerUrlError

    logging.basicConfig(
        format="%(asctime)s %(levelname)-7s %(message)s", level=logging.ERROR if quiet else logging.INFO, force=True
    )
    for name in ("gmqtt", "asyncio", "httpx"):  # they tell of every retry, with tracebacks
        logging.getLogger(name).setLevel(logging.CRITICAL)
    logging.getLogger("uvicorn").setLevel(logging.ERROR)
    try:
        password = password_file.read_text().strip() if password_file else ""
    except (OSError, UnicodeDecodeError) as error:
        raise BrokerUrlError(f"password file {password_file}: {getattr(error, 'strerror', '') or error}") from None
    address = BrokerUrl.parse(broker, password, ca_file)
    folder = keys_folder(keys)
    if not (folder / "root.json").exists():
        print(f"development mode: new keys, all in {folder}", flush=True)
    signing = load_or_create_keys(folder)
    if not signing.signing:
        raise KeysError(f"keys {folder}: no signing key there")

    def ready(url: str) -> None:
        print(f"controller ready on {url} · broker {address} · state {state_folder(state)}", flush=True)

    asyncio.run(
        fleet.serve(
            state_folder(state),
            signing,
            address,
            listen,
            bytes_per_s=rate * 1e6,
            gather_s=parse_duration_s(gather, "--gather"),
            on_ready=ready,
        )
    )
