"""``secateur tables``: the latency tables that are stored here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from secateur.cli.console import print_fields, print_json, print_table
from secateur.cli.options import DeviceArgument, JsonOption

if TYPE_CHECKING:
    from secateur.search import LatencyTable


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(help="The latency tables that are stored here.", no_args_is_help=True, rich_markup_mode=None)
    group.command("list")(list_tables)
    group.command("show")(show_tables)
    group.command("adopt")(adopt_tables)
    app.add_typer(group, name="tables")


def list_tables(as_json: JsonOption = False) -> None:
    """List all tables: those of profiles, from which every compilation plans, and those of single devices."""
    from secateur.device_tables import shared_table, stored_tables

    found = stored_tables()
    if as_json:
        print_json([{"table": str(path), "shared": shared_table(path), "key": table.key} for path, table in found])
        return
    rows = []
    for path, table in found:
        key = table.key
        slowed = table.slowed_points
        count = f"{len(table.points)}" + (f", {slowed} throttled" if slowed else "")
        runtime = f"{key.runtime} {key.runtime_version}"
        owner = key.device or "this machine"
        use = "every compilation" if shared_table(path) else f"--measured-on {key.device}"
        rows.append((key.profile, owner, runtime, key.precision, key.threads, count, key.date[:10], use))
    columns = ("profile", "measured on", "runtime", "precision", "threads", "points", "date", "used by")
    print_table(columns, rows, "no table is stored yet; 'secateur measure' makes them")


def show_tables(device: DeviceArgument, as_json: JsonOption = False) -> None:
    """Show the tables of a device, and whether a measurement is under way."""
    from secateur.cli.measure_device import table_fields
    from secateur.device_tables import DeviceTableError, stored_tables, under_way

    found, begun = stored_tables(device), under_way(device)
    if not found and not begun:
        raise DeviceTableError(f"device {device}: no table is stored here; measure with 'secateur measure {device}'")
    if as_json:
        print_json({"tables": [{"table": str(path), **_summary(table)} for path, table in found], "under_way": begun})
        return
    for path, table in found:
        slowed = table.slowed_points
        throttled = f"{slowed} points" if slowed else ""
        print_fields([*table_fields(path, table), ("date", table.key.date), ("throttled", throttled)])
        print()
    if begun:
        print(f"under way: {begun} files are timed; 'secateur measure {device}' goes on")


def adopt_tables(
    device: DeviceArgument,
    precision: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME", help="Only this one; may be repeated. Default: all that there are.", show_default=False
        ),
    ] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Also where a table of another machine is in use.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Plan every compilation for a device's profile from what this device measured.

    Nothing else brings a device's numbers into the table of its profile.
    """
    from secateur.device_tables import adopt

    adopted = adopt(device, precision or (), replace)
    if as_json:
        print_json([{"table": str(path), "key": key} for path, key in adopted])
        return
    for path, key in adopted:
        print(f"{key.profile} in {key.precision} is planned from {device}, {key.runtime} {key.runtime_version}: {path}")


def _summary(table: LatencyTable) -> dict[str, object]:
    return {
        "key": table.key,
        "calibration": table.calibration,
        "points": len(table.points),
        "slowed_points": table.slowed_points,
    }
