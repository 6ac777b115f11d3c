"""``secateur serve``."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Annotated

import typer

from secateur.bundle.keys import KeysError, load_or_create_keys
from secateur.cli.options import KeysOption, StateOption, keys_folder, state_folder
from secateur.cli.units import parse_duration_s


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("serve")(serve)


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
    enrolment: Annotated[
        str,
        typer.Option(
            metavar="open|token",
            help="Whom to take into the fleet. 'open': an id that no token was made for is trusted on first use. 'token': "
            "only devices that were flashed with a token. Default: open for a broker on loopback without TLS, else token.",
            show_default=False,
        ),
    ] = "",
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
    from secateur.fleet.admission import choose_policy
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
    policy = choose_policy(enrolment, address.host, address.tls is not None)
    folder = keys_folder(keys)
    if not (folder / "root.json").exists():
        print(f"development mode: new keys, all in {folder}", flush=True)
    signing = load_or_create_keys(folder)
    if not signing.signing:
        raise KeysError(f"keys {folder}: no signing key there")

    def ready(url: str) -> None:
        where = f"broker {address} · state {state_folder(state)}"
        print(f"controller ready on {url} · {where} · enrolment {policy}", flush=True)

    asyncio.run(
        fleet.serve(
            state_folder(state),
            signing,
            address,
            listen,
            bytes_per_s=rate * 1e6,
            gather_s=parse_duration_s(gather, "--gather"),
            enrolment=policy,
            on_ready=ready,
        )
    )
