"""A phone that runs Termux: what its two ways in, SSH and adb, have in common."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

COMMAND_LIMIT_S = 60.0
APP = "com.termux"
"""Name of the app's package."""
_COLOURS = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")

Say = Callable[[str], None]
"""Told of a step, or of a line that a program on the phone has printed."""


@dataclass(frozen=True)
class Answer:
    """What a command left: its exit status, its standard output, and the last line of its standard error."""

    code: int
    out: str
    complaint: str


class Phone(Protocol):
    """A way into Termux. Its commands run as the app's own user, in Termux's shell, with ``HOME`` and ``PREFIX`` set.

    Attributes:
        where: the host or the serial number, for error lines.
        in_app: whether commands are processes of the app itself, as those of its SSH server are.
    """

    where: str
    in_app: bool

    async def run(
        self, command: str, given: bytes = b"", limit_s: float = COMMAND_LIMIT_S, say: Say | None = None
    ) -> Answer:
        """Run a shell command.

        Args:
            command: for ``sh``; no secret may be in it, since other apps see command lines.
            given: its standard input.
            limit_s: how long it may take.
            say: told of each line that it prints.

        Raises:
            secateur.flash.errors.FlashError: if the phone does not answer.
        """

    async def upload(self, path: str, content: Path | bytes, progress: Callable[[int], None]) -> None:
        """Write a file that the app alone can read; tell ``progress`` of the bytes that have gone.

        Raises:
            secateur.flash.errors.FlashError: if it cannot be written.
        """


def last_line(text: str) -> str:
    """Return the last line that is not blank, without colours; at most 300 characters."""
    lines = [line.strip() for line in _COLOURS.sub("", text).splitlines() if line.strip()]
    return lines[-1][:300] if lines else ""
