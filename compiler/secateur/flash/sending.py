"""Sends a payload to a system that runs, file by file, and tells how far it is."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

from secateur.flash.payload import ENVIRONMENT, Payload

Upload = Callable[[str, Path | bytes, Callable[[int], None]], Awaitable[None]]
"""Writes a file: its path there, its content, and what is told of the bytes that have gone."""


async def send_payload(
    upload: Upload, payload: Payload, folder: str, without_environment: bool, say: Callable[[str], None]
) -> int:
    """Send all files of a payload.

    Args:
        upload: sends one.
        payload: the files.
        folder: where to, there.
        without_environment: leave the environment out, for it is there from before.
        say: told of every tenth.

    Returns:
        The bytes that were sent.
    """
    names = [name for name in payload.files if not (without_environment and name == ENVIRONMENT)]
    total, sent, shown = sum(payload.files[name].size for name in names), 0, -1

    def progress(count: int) -> None:
        nonlocal sent, shown
        sent += count
        if (percent := 100 * sent // max(1, total) // 10 * 10) != shown:
            shown = percent
            say(f"sending {percent} % of {total / 1e6:.1f} MB")

    for name in names:
        await upload(f"{folder}/{name}", payload.files[name].source, progress)
    return sent
