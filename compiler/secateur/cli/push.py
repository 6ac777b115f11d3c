"""``secateur push``."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from secateur.cli.console import console, print_json, printable, size
from secateur.cli.options import JsonOption, StateOption, UrlOption, find_host
from secateur.cli.units import parse_duration_s
from secateur.fleet.client import HostClient

_POLL_S = 0.2
# A device may still show the end of its last install for a moment.
_ROLLED_BACK_FOR_S = 3.0

Show = Callable[[str, str, int, int], None]


class PushFailed(ValueError):
    """A device did not end up with what was pushed."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("push")(push)


def push(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="The bundle folder.", show_default=False)],
    to: Annotated[list[str], typer.Option("--to", metavar="DEVICE", help="A device; may be repeated.", show_default=False)],
    more: Annotated[list[str] | None, typer.Argument(metavar="DEVICE", help="More devices.", show_default=False)] = None,
    workspace: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="For re-pruning. Default: 'workspace' beside the bundle.", show_default=False),
    ] = None,
    chunk_kib: Annotated[
        int, typer.Option(help="Size of the chunks that travel: 16 for cellular links, 256 for a LAN.", min=1, max=1024)
    ] = 64,
    any_profile: Annotated[
        bool, typer.Option("--any-profile", help="Also to devices of another profile than it was compiled for.")
    ] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Until every device has committed or rolled back.")] = False,
    timeout: Annotated[str, typer.Option(metavar="TIME", help="How long to wait.")] = "10min",
    as_json: JsonOption = False,
    state: StateOption = None,
    url: UrlOption = "",
) -> None:
    """Make a bundle the model of one or more devices.

    Each file is published once for all of them, in chunks; a device fetches what it missed by itself, also much later.
    It verifies signatures, tries every rung, and goes back to its old model if one fails.

    \b
    Example:
      secateur push build/gestures-raspberry-pi-4b.bundle --to pi-kitchen pi-garage --wait
    """
    limit_s = parse_duration_s(timeout, "--timeout")
    with find_host(state, url) as host:
        result = host.push(bundle, [*to, *(more or [])], workspace=workspace, chunk_kib=chunk_kib, any_profile=any_profile)
        if not wait:
            if as_json:
                print_json(result)
            else:
                print(f"{result['name']} ({size(result['bytes'])}) is now desired by {', '.join(result['versions'])}")
            return
        failed = _wait(host, result, limit_s, quiet=as_json)
        if as_json:
            print_json({**result, "failed": failed})
        if failed:
            raise PushFailed("; ".join(f"{device}: {why}" for device, why in failed.items()))
        if not as_json:
            print(f"{result['name']} is committed on {', '.join(result['versions'])}")


def _wait(host: HostClient, result: dict[str, Any], limit_s: float, quiet: bool) -> dict[str, str]:
    """Wait for all devices; return device → why it failed."""
    waiting: dict[str, int] = dict(result["versions"])
    failed: dict[str, str] = {}
    rolled_back_s: dict[str, float] = {}
    deadline_s = time.monotonic() + limit_s
    bar: AbstractContextManager[Show] = nullcontext(_silent) if quiet else _Bars() if sys.stdout.isatty() else _Lines()
    with bar as show:
        while waiting:
            now_s = time.monotonic()
            for device, version in list(waiting.items()):
                seen = host.device(device)
                current = seen["version"] >= version
                install = seen["install"] if current else "waiting"
                show(device, install, seen["download_have"], seen["download_total"])
                if install == "committed" and seen["manifest_sha256"] == result["manifest_sha256"]:
                    del waiting[device]
                elif install == "rolled-back":
                    if now_s - rolled_back_s.setdefault(device, now_s) > _ROLLED_BACK_FOR_S:
                        failed[device] = f"rolled back ({seen['fault'] or 'see its events'})"
                        del waiting[device]
                elif now_s > deadline_s:
                    failed[device] = f"still {install} after {limit_s:g} s; it goes on by itself"
                    del waiting[device]
                else:
                    rolled_back_s.pop(device, None)
            if waiting:
                time.sleep(_POLL_S)
    return failed


def _silent(device: str, install: str, have: int, total: int) -> None:
    """Show nothing."""


class _Lines(AbstractContextManager[Show]):
    """A line for each change: for logs."""

    def __init__(self) -> None:
        self._last: dict[str, str] = {}

    def __enter__(self) -> Show:
        return self._show

    def __exit__(self, *_: object) -> None:
        pass

    def _show(self, device: str, install: str, _have: int, total: int) -> None:
        if self._last.get(device) != install:
            self._last[device] = install
            print(
                printable(f"{device}: {install}{f', {total} chunks' if install == 'fetching' and total else ''}"), flush=True
            )


class _Bars(AbstractContextManager[Show]):
    """A bar for each device: for a terminal."""

    def __init__(self) -> None:
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TextColumn("{task.fields[install]}", markup=False),
            TimeElapsedColumn(),
            console=console(),
        )
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> Show:
        self._progress.start()
        return self._show

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def _show(self, device: str, install: str, have: int, total: int) -> None:
        if device not in self._tasks:
            self._tasks[device] = self._progress.add_task(printable(device), total=1.0, install="")
        beyond = install in ("verifying", "staged", "trial", "committed")
        done = 1.0 if beyond else have / total if install == "fetching" and total else 0.0
        self._progress.update(self._tasks[device], completed=done, install=install)
