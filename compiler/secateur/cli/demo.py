"""``secateur demo``."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from secateur.cli.console import print_table, size

if TYPE_CHECKING:  # it imports torch
    from secateur.demo.summary import DemoSummary


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("demo")(demo)


def demo(
    out: Annotated[Path, typer.Option("-o", "--out", metavar="DIR", help="Where to write.")] = Path("build"),
) -> None:
    """Show everything on this machine in about three minutes.

    Trains a small network on real smartwatch recordings, compiles it for a Raspberry Pi, a Jetson and a phone, pushes it
    over MQTT to three agents, and lets a replayed battery drain and a replayed board overheat while windows of people the
    network has never seen are classified. On a terminal it stays up until Ctrl-C; otherwise, or with CI=1, it ends.
    """
    from secateur.demo.run import run_demo

    run_demo(out, print_summary, stay=sys.stdout.isatty() and os.environ.get("CI", "") in ("", "0", "false"))


def print_summary(summary: DemoSummary) -> None:
    """Print the closing tables."""
    rows = [
        (d.id, d.profile, f"{d.accuracy:.1%}", f"{d.latency_ms:.2f} ms", size(d.bytes_pushed), d.requests, d.failed_requests)
        for d in summary.devices
    ]
    print()
    print_table(("device", "profile", "accuracy", "latency", "pushed", "requests", "failed"), rows, "no device")
    print("\nrungs over time, and why")
    spans = [(d.id, f"{span.from_s:.1f} s", span.rung, span.reason) for d in summary.devices for span in d.rungs]
    print_table(("device", "from", "rung", "reason"), spans, "none")
    if summary.reprunes:
        print("\nrungs cut on demand")
        cut = [
            (r.device, r.rung, f"{r.seconds:.1f} s", size(r.bytes), f"{r.accuracy:.1%}", r.reason) for r in summary.reprunes
        ]
        print_table(("device", "rung", "took", "on the wire", "accuracy (validation)", "why"), cut, "none")
    print(f"\nAccuracy is that of every answer to windows of two people the network never saw. {summary.machine}")
    print(f"Batteries, clocks and temperatures: {summary.simulated}.")
