"""``secateur wheelhouse``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from secateur.cli.console import print_fields, print_json, print_table, size
from secateur.cli.options import JsonOption
from secateur.flash import wheelhouse
from secateur.flash.cache import cache_folder
from secateur.flash.local import local_target
from secateur.flash.systems import SYSTEMS, target_of_system
from secateur.flash.target import Target, make_target
from secateur.flash.wheelhouse import Wheelhouse, WheelhouseError
from secateur_profiles import load

FolderOption = Annotated[
    Path | None,
    typer.Option(
        "--wheelhouse",
        metavar="DIR",
        help="Where wheels are kept. Default: $XDG_CACHE_HOME/secateur/wheelhouse.",
        show_default=False,
    ),
]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(
        help="Wheels for boards, fetched once: then boards are flashed without a network.",
        no_args_is_help=True,
        rich_markup_mode=None,
    )
    group.command("build")(build)
    group.command("list")(list_wheelhouses)
    app.add_typer(group, name="wheelhouse")


def build(
    profile: Annotated[
        list[str],
        typer.Option(metavar="NAME|FILE", help="Device profile of the boards; may be repeated.", show_default=False),
    ],
    system: Annotated[
        list[str] | None,
        typer.Option(
            metavar="CODENAME", help=f"System of the boards, may be repeated: {', '.join(SYSTEMS)}.", show_default=False
        ),
    ] = None,
    python: Annotated[
        str, typer.Option(metavar="VERSION", help="Python of another system, with --glibc.", show_default=False)
    ] = "",
    glibc: Annotated[
        str, typer.Option(metavar="VERSION", help="C library of another system, with --python.", show_default=False)
    ] = "",
    here: Annotated[bool, typer.Option("--here", help="For the system of this machine.")] = False,
    extra_wheels: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Wheels that no index has; they come first.", show_default=False)
    ] = None,
    folder: FolderOption = None,
    as_json: JsonOption = False,
) -> None:
    """Fetch all wheels that boards need, from the package index that pip is configured for.

    'secateur flash' does this by itself when it has a connection. The folder can be copied to a machine that has none and
    be given there with --wheelhouse. The agent itself is not in it: boards get the one that is installed where they are
    flashed.

    \b
    Examples:
      secateur wheelhouse build --profile raspberry-pi-5 --system bookworm --system trixie
      secateur wheelhouse build --profile jetson-orin-nano --system jammy --extra-wheels ./jetson-wheels
    """
    if bool(python) != bool(glibc) or [bool(system), bool(python), here].count(True) != 1:
        raise WheelhouseError("say for which system: --system CODENAME, or --python VERSION with --glibc VERSION, or --here")
    built: list[Wheelhouse] = []
    for name in profile:
        found = load(name)
        targets: list[Target] = [target_of_system(each, found.cpu.arch, "--system") for each in system or []]
        if here:
            targets.append(local_target())
        if python:
            targets.append(make_target(python, found.cpu.arch, glibc, "--python"))
        for target in targets:
            if not as_json:
                print(f"{target.name}, {found.runtime.name}: fetching what is not there yet", flush=True)
            root = folder or cache_folder("wheelhouse")
            built.append(wheelhouse.ensure(target, found.runtime.name, root, extra_wheels))
    _show(built, as_json)


def list_wheelhouses(folder: FolderOption = None, as_json: JsonOption = False) -> None:
    """List the systems that all wheels are there for."""
    _show(wheelhouse.all_below(folder or cache_folder("wheelhouse")), as_json)


def _show(found: list[Wheelhouse], as_json: bool) -> None:
    if as_json:
        print_json([{"folder": str(each.folder), "bytes": each.size, **_described(each)} for each in found])
        return
    rows = [
        (
            each.record.python,
            each.record.machine,
            each.record.glibc,
            each.record.runtime,
            len(each.record.wheels),
            size(each.size),
        )
        for each in found
    ]
    print_table(
        ("python", "machine", "glibc", "runtime", "wheels", "size"), rows, "none; 'secateur wheelhouse build' makes one"
    )
    if found:
        print_fields([("in", str(found[0].folder.parent))])


def _described(found: Wheelhouse) -> dict[str, object]:
    record = found.record
    return {
        "python": record.python,
        "machine": record.machine,
        "glibc": record.glibc,
        "runtime": record.runtime,
        "wheels": list(record.wheels),
    }
