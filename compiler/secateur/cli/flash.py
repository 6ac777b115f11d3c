"""``secateur flash``: from a bare board to a device that serves."""

from __future__ import annotations

import typer

from secateur.cli import flash_image, flash_local, flash_ssh, flash_termux

_MANUAL = """Make a board a device of the fleet: all it needs is on it when it starts, no network is needed there.

\b
  secateur flash image    an SD card: Raspberry Pi OS or Debian, and what the agent needs
  secateur flash ssh      boards that run already, several at once; upgrades and returns of their agent
  secateur flash local    this machine itself
  secateur flash termux   an Android phone with Termux, by its SSH server or by adb
"""


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(help=_MANUAL, no_args_is_help=True, rich_markup_mode=None)
    flash_image.register(group)
    flash_ssh.register(group)
    flash_local.register(group)
    flash_termux.register(group)
    app.add_typer(group, name="flash")
