"""The ``secateur`` command."""

from __future__ import annotations

import sys

import typer

from secateur import __version__
from secateur.cli import (
    broker,
    bundle,
    compile,
    demo,
    devices,
    flash,
    keys,
    measure,
    profiles,
    push,
    serve,
    steer,
    tables,
    telemetry,
    unflash,
    wheelhouse,
)
from secateur.cli.errors import run

# One module per group of commands, in the order of the manual; each has `register(app)`.
GROUPS = (
    demo,
    compile,
    measure,
    tables,
    bundle,
    keys,
    profiles,
    flash,
    unflash,
    wheelhouse,
    broker,
    serve,
    push,
    devices,
    telemetry,
    steer,
)

_MANUAL = """Compile a trained network once into a ladder of nested networks, ship it to a fleet, follow it there.

A ladder is one set of weights from which every smaller network, a rung, is cut. The host signs it and publishes it over
MQTT; the agent on each device climbs up and down as memory, power, battery and temperature change. When no rung fits,
the device asks, the host cuts a new one from the same weights, and a few kilobytes travel.

\b
A first fleet on one machine, each line in a terminal of its own:
  secateur broker                        the MQTT broker, loopback only
  secateur serve                         controller, REST API, re-prune service
  secateur-agent run --config FILE       an agent, with the trust root of 'keys show'
  secateur push BUNDLE --to DEVICE --wait

Exit status: 0 done, 1 refused or failed (one line on standard error says why), 2 wrong usage, 3 no rung meets the
budgets, 130 interrupted.
"""


def build_app() -> typer.Typer:
    """Return the application with all its commands."""
    app = typer.Typer(
        name="secateur",
        help=_MANUAL,
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    )

    @app.callback(invoke_without_command=False, help=_MANUAL)
    def root(
        version: bool = typer.Option(False, "--version", is_eager=True, callback=_version, help="Print the version."),
    ) -> None:
        pass

    for group in GROUPS:
        group.register(app)
    return app


def main() -> None:
    """Run the command line and end the process with its exit status."""
    sys.exit(run(build_app(), sys.argv[1:]))


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"secateur {__version__}")
        raise typer.Exit
