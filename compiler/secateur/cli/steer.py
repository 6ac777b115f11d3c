"""``secateur pin``, ``secateur policy`` and ``secateur command``."""

from __future__ import annotations

import time
from typing import Annotated, Any

import typer

from secateur.cli.console import print_fields, print_json
from secateur.cli.options import DeviceArgument, JsonOption, StateOption, UrlOption, find_host
from secateur.cli.units import parse_duration_s, parse_memory_mb

_TERMINAL = ("done", "failed", "refused", "expired")
_NONE = "none"


class CommandFailed(ValueError):
    """A command ended otherwise than done."""


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("pin")(pin)
    app.command("policy")(policy)
    app.command("command")(command)


def pin(
    device: DeviceArgument,
    rung: Annotated[
        str, typer.Argument(metavar="RUNG|auto", help="A rung of its model, or 'auto' to let it choose.", show_default=False)
    ],
    as_json: JsonOption = False,
    state: StateOption = None,
    url: UrlOption = "",
) -> None:
    """Keep a device on one rung; 'auto' frees it again.

    Its governor is not asked any more, whatever the battery or the temperature.
    """
    with find_host(state, url) as host:
        version = host.pin(device, rung)
    if as_json:
        print_json({"device": device, "rung": rung, "version": version})
    else:
        print(f"{device}: {'chooses its rung itself' if rung == 'auto' else f'pinned to {rung}'} (shadow {version})")


def policy(
    device: DeviceArgument,
    latency: Annotated[
        str | None, typer.Option(metavar="TIME|none", help="Median latency to stay below: 5ms.", show_default=False)
    ] = None,
    memory: Annotated[
        str | None,
        typer.Option(metavar="SIZE|none", help="Worker memory to stay below: 120MB.", show_default=False),
    ] = None,
    horizon: Annotated[
        str | None,
        typer.Option(metavar="TIME|none", help="The battery must last so long: 2h.", show_default=False),
    ] = None,
    reserve: Annotated[
        float | None,
        typer.Option(metavar="PERCENT", help="Battery left at the horizon.", min=0, max=100, show_default=False),
    ] = None,
    reprune: Annotated[
        bool | None, typer.Option("--reprune/--no-reprune", help="Whether it may ask for new rungs.", show_default=False)
    ] = None,
    reprune_interval: Annotated[
        str | None, typer.Option(metavar="TIME", help="Least time between two such asks.", show_default=False)
    ] = None,
    reset: Annotated[bool, typer.Option("--reset", help="Start from no limits instead of the present policy.")] = False,
    as_json: JsonOption = False,
    state: StateOption = None,
    url: UrlOption = "",
) -> None:
    """Tell a device's governor what to aim at. What is not named stays as it is; without options it is only shown.

    The governor picks the most accurate rung that keeps all limits.

    \b
    Example:
      secateur policy phone-1 --latency 5ms --horizon 2h
    """
    changes: dict[str, Any] = {}
    if latency is not None:
        changes["latency_ms"] = None if latency == _NONE else parse_duration_s(latency, "--latency") * 1e3
    if memory is not None:
        changes["memory_mb"] = None if memory == _NONE else parse_memory_mb(memory, "--memory")
    if horizon is not None:
        changes["horizon_s"] = 0.0 if horizon == _NONE else parse_duration_s(horizon, "--horizon")
    if reserve is not None:
        changes["battery_reserve_percent"] = reserve
    if reprune is not None:
        changes["reprune"] = reprune
    if reprune_interval is not None:
        changes["reprune_min_interval_s"] = parse_duration_s(reprune_interval, "--reprune-interval")
    with find_host(state, url) as host:
        desired = host.device(device)["desired"] or {}
        wanted = {**({} if reset else desired.get("policy", {})), **changes}
        version = host.policy(device, wanted) if changes or reset else desired.get("version", 0)
    if as_json:
        print_json({"device": device, "policy": wanted, "version": version})
    else:
        shown = [(name.replace("_", " "), str(value)) for name, value in wanted.items()]
        print_fields([("device", device), ("shadow", str(version)), *(shown or [("policy", "no limits")])])


def command(
    device: DeviceArgument,
    body: Annotated[
        str, typer.Argument(metavar="measure|restart|diagnose|rollback", help="What to do.", show_default=False)
    ],
    expires: Annotated[str, typer.Option(metavar="TIME", help="After this it must not be carried out any more.")] = "5min",
    wait: Annotated[bool, typer.Option("--wait", help="Until the device says how it went.")] = False,
    as_json: JsonOption = False,
    state: StateOption = None,
    url: UrlOption = "",
) -> None:
    """Send a signed command.

    \b
      measure   time and weigh every rung again
      restart   restart the agent
      diagnose  report which sensors and runtimes work, and why the rest does not
      rollback  go back to the model before this one
    """
    with find_host(state, url) as host:
        found = host.command(device, body, parse_duration_s(expires, "--expires"))
        while wait and found["status"] not in _TERMINAL:
            time.sleep(0.2)
            found = next((c for c in host.commands(device) if c["id"] == found["id"]), found)
    if as_json:
        print_json(found)
    else:
        result = [(name, str(value)) for name, value in found["result"].items()]
        print_fields([("command", found["id"]), ("status", found["status"]), ("text", found["text"]), *result])
    if wait and found["status"] != "done":
        raise CommandFailed(f"{device}: {body} {found['status']}{': ' if found['text'] else ''}{found['text']}")
