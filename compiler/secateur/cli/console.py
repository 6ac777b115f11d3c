"""What commands print: tables for people, JSON for programs."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

_PIPE_WIDTH = 200


def console() -> Console:
    """Return a console on standard output: colours and the terminal's width only if it is a terminal."""
    width = None if sys.stdout.isatty() else _PIPE_WIDTH
    return Console(width=width, highlight=False, markup=False, emoji=False, no_color=None if sys.stdout.isatty() else True)


def print_json(value: Any) -> None:
    """Print a value as indented JSON."""
    print(msgspec.json.format(msgspec.json.encode(value), indent=2).decode(), flush=True)


def print_json_line(value: Any) -> None:
    """Print a value as one line of JSON."""
    print(msgspec.json.encode(value).decode(), flush=True)


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]], empty: str) -> None:
    """Print rows under headings, or the line ``empty`` if there are none."""
    found = list(rows)
    if not found:
        print(empty)
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in found:
        # Text, so that what a device says is never read as markup.
        table.add_row(*(Text(printable(value)) for value in row))
    console().print(table)


def print_fields(fields: Iterable[tuple[str, object]]) -> None:
    """Print names and values, one pair a line; those without a value are left out."""
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in fields:
        if value not in (None, "", (), []):
            table.add_row(Text(name), Text(printable(value)))
    console().print(table)


def printable(value: object) -> str:
    """Return a value as text without control characters: it may come from a device."""
    text = "–" if value in (None, "") else str(value)
    return "".join(character if character.isprintable() else " " for character in text)


def clock(wall_s: float | None) -> str:
    """Return a Unix time as local date and time."""
    if not wall_s:
        return ""
    try:
        return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(wall_s))
    except (OverflowError, ValueError, OSError):  # a device without a clock may say anything
        return f"{wall_s:.0f}"


def ago(wall_s: float) -> str:
    """Return how long ago a Unix time is."""
    seconds = max(0.0, time.time() - wall_s)
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit} ago"
    return f"{seconds:.0f} s ago"


def size(count: int) -> str:
    """Return a number of bytes with a unit."""
    if count < 10_000:
        return f"{count} B"
    return f"{count / 1e3:.1f} kB" if count < 1e6 else f"{count / 1e6:.1f} MB"
