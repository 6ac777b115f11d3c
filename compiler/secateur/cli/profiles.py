"""``secateur profiles``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

import secateur_profiles
from secateur.cli.console import print_fields, print_json, print_table
from secateur.cli.options import JsonOption


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(
        help="Device profiles: what each class of device is and can.", no_args_is_help=True, rich_markup_mode=None
    )
    group.command("list")(list_profiles)
    group.command("show")(show)
    group.command("check")(check)
    app.add_typer(group, name="profiles")


def list_profiles(as_json: JsonOption = False) -> None:
    """List the built-in profiles."""
    found = [secateur_profiles.load(name) for name in secateur_profiles.names()]
    if as_json:
        print_json(found)
        return
    columns = ("profile", "device", "runtime", "precisions", "cores", "memory MB", "grid")
    rows = [
        (p.name, p.title, p.runtime.name, ", ".join(p.precisions), p.cpu.cores, f"{p.memory.total_mb:g}", p.grid.channels)
        for p in found
    ]
    print_table(columns, rows, "no profiles are installed")


def show(
    name: Annotated[
        str, typer.Argument(metavar="NAME|FILE", help="A built-in profile, or a .toml file.", show_default=False)
    ],
    as_json: JsonOption = False,
) -> None:
    """Show a profile: every value, and where it comes from."""
    profile = secateur_profiles.load(name)
    if as_json:
        print_json(profile)
        return
    values = msgspec.to_builtins(profile)
    sources = values.pop("sources")
    rows = [(key, value, sources.get(key, "")) for key, value in _leaves(values)]
    print_table(("key", "value", "source"), rows, "")


def check(
    files: Annotated[list[Path], typer.Argument(metavar="FILE…", help="Profiles, as .toml files.", show_default=False)],
) -> None:
    """Check profiles of your own; each problem is one line with file, key and reason."""
    problems = [problem for file in files for problem in secateur_profiles.check(file)]
    for problem in problems:
        print(f"secateur: {' '.join(problem.split())}", file=sys.stderr)
    if problems:
        raise typer.Exit(1)
    print_fields([(str(file), "good") for file in files])


def _leaves(table: dict[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    rows: list[tuple[str, str]] = []
    for key, value in table.items():
        if isinstance(value, dict):
            rows += _leaves(value, f"{prefix}{key}.")
        elif value is not None:
            rows.append((prefix + key, ", ".join(map(str, value)) if isinstance(value, list) else str(value)))
    return rows
