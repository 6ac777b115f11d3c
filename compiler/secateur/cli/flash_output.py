"""What flashing a card shows: a bar for each step on a terminal, then what was written."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from secateur.cli.console import console, print_fields, print_json, print_table, size
from secateur.flash.first_boot.customise import WrittenFile
from secateur.flash.first_boot.mechanism import SUFFIX
from secateur.flash.image import Card
from secateur.flash.settings import Wifi


class Bars:
    """One bar for each step, on a terminal; nothing elsewhere."""

    def __init__(self, progress: Progress | None) -> None:
        self._progress = progress
        self._tasks: dict[str, TaskID] = {}
        self.steps: set[str] = set()
        """Steps of the card that is being made."""

    def __call__(self, step: str, done: int, total: int) -> None:
        self.steps.add(step)
        if self._progress is None:
            return
        self._progress.start()
        if step not in self._tasks:
            self._tasks[step] = self._progress.add_task(step)
        self._progress.update(self._tasks[step], completed=done, total=total or None)

    def pause(self) -> None:
        """Leave the terminal to a question or a table; another card comes after."""
        self.steps.clear()
        if self._progress is not None:
            self._progress.stop()
            for task in self._tasks.values():
                self._progress.remove_task(task)
            self._tasks.clear()


@contextmanager
def shown(quiet: bool) -> Iterator[Bars]:
    """Show progress while the block runs.

    Args:
        quiet: whether nothing is to be shown, as where programs read what is printed.
    """
    if quiet or not sys.stdout.isatty():
        yield Bars(None)
        return
    progress = Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(),
        TimeRemainingColumn(),
        console=console(),
    )
    bar = Bars(progress)
    try:
        yield bar
    finally:
        progress.stop()


def print_cards(cards: list[Card]) -> None:
    """Print what was written as JSON."""
    print_json([_row(card) for card in cards])


def show_card(card: Card, wifi: Wifi | None) -> None:
    """Print what was written to a card.

    Args:
        card: the card.
        wifi: the network that it joins.
    """
    rows = [(file.name, size(file.size), file.sha256[:12], _origin(file)) for file in card.files]
    print_table(("file on the boot partition", "size", "sha-256", ""), rows, empty="")
    print_fields(
        (
            ("device", card.device),
            ("written to", card.target),
            ("system", card.found.system),
            ("first boot", f"{card.found.mechanism}: {card.found.reason}"),
            ("Wi-Fi", f"{wifi.ssid}: the card holds the network's key, not its password" if wifi else ""),
            ("image", f"{size(card.size)}, sha-256 {card.sha256}" if card.size else "boot partition only"),
            (
                "verified",
                "every byte read back from the medium" if card.size else "every file read back from the medium",
            ),
        )
    )


def _origin(file: WrittenFile) -> str:
    return "kept from the image" if file.name.endswith(SUFFIX) else "replaced" if file.replaced else "new"


def _row(card: Card) -> dict[str, Any]:
    return {
        "device": card.device,
        "target": str(card.target),
        "system": card.found.system,
        "mechanism": card.found.mechanism,
        "reason": card.found.reason,
        "bytes": card.size,
        "sha256": card.sha256,
        "files": [
            {"name": file.name, "bytes": file.size, "sha256": file.sha256, "replaced": file.replaced} for file in card.files
        ],
    }
