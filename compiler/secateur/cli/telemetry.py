"""``secateur telemetry`` and ``secateur events``."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import Annotated, Any

import typer

from secateur.cli.console import clock, print_json_line, print_table, printable
from secateur.cli.options import DeviceArgument, JsonOption, StateOption, UrlOption, find_host
from secateur.fleet.client import ClientError, HostClient

_RETRY_S = 1.0


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("telemetry")(telemetry)
    app.command("events")(events)


def telemetry(
    device: DeviceArgument,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until Ctrl-C.")] = False,
    after: Annotated[
        int | None, typer.Option(metavar="ID", help="Only samples stored after the one with this id.", show_default=False)
    ] = None,
    limit: Annotated[int, typer.Option(help="At most so many of the newest samples (with --after: oldest).", min=1)] = 20,
    as_json: JsonOption = False,
    state: StateOption = None,
    url: UrlOption = "",
) -> None:
    """Print what a device measured, oldest first.

    With --json one sample per line: id, boot, seq, wall_s, mono_s, rung, requests, failed_requests, readings. A reading
    has value, unit, source and quality. In the text ~ marks an estimate, and what the device cannot measure is counted.
    """
    with find_host(state, url) as host:
        found = host.telemetry(device, -1 if after is None else after, limit)
        for sample in found:
            _print_sample(sample, as_json)
        if follow:
            last = found[-1]["id"] if found else (after or 0)
            for sample in _follow(host, device, last):
                _print_sample(sample, as_json)
        elif not found and not as_json:
            print(f"{device}: no samples yet")


def events(
    device: DeviceArgument,
    limit: Annotated[int, typer.Option(help="At most so many of the newest.", min=1, max=5000)] = 100,
    as_json: JsonOption = False,
    state: StateOption = None,
    url: UrlOption = "",
) -> None:
    """Print what happened to a device, oldest first.

    Its governor's decisions with reasons, install steps, faults, and messages of it that were refused.
    """
    with find_host(state, url) as host:
        found = host.events(device, limit=limit)
    if as_json:
        for event in found:
            print_json_line(event)
        return
    rows = [(clock(e["wall_s"]), e["source"], e["kind"], e["text"]) for e in found]
    print_table(("time", "from", "kind", "what"), rows, f"{device}: nothing has happened yet")


def _follow(host: HostClient, device: str, last: int) -> Iterator[dict[str, Any]]:
    """Yield samples as they come; a controller that is restarted is found again."""
    failures = 0
    while True:
        try:
            for sample in host.follow(device, last):
                last, failures = sample["id"], 0
                yield sample
        except ClientError:
            failures += 1
            if failures > 10:
                raise
        time.sleep(_RETRY_S)


def _print_sample(sample: dict[str, Any], as_json: bool) -> None:
    readings: dict[str, dict[str, Any]] = sample.get("readings", {})
    if as_json:
        for reading in readings.values():
            reading.setdefault("quality", "measured")
        print_json_line(sample)
        return
    failed = sample.get("failed_requests", 0)
    head = (
        f"{clock(sample['wall_s'])}  #{sample['seq']}  {sample.get('rung') or 'no rung'}  "
        f"{sample.get('requests', 0)} requests" + (f", {failed} failed" if failed else "")
    )
    print(printable("  ".join([head, *_readings(readings.items())])), flush=True)


def _readings(items: Iterable[tuple[str, dict[str, Any]]]) -> Iterator[str]:
    unavailable = 0
    for name, reading in items:
        value = reading.get("value")
        if value is None:
            unavailable += 1
        else:
            about = "~" if reading.get("quality") == "estimated" else ""
            yield f"{name} {about}{value:g} {reading.get('unit', '')}".rstrip()
    if unavailable:
        yield f"({unavailable} unavailable)"
