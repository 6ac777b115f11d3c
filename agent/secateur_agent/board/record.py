"""What was installed, and what there was before: a note for whoever upgrades or removes it."""

from __future__ import annotations

import json

from . import files
from .layout import Layout


def read(layout: Layout) -> dict[str, object]:
    """Return the note; empty if there is none, or a power cut or somebody has damaged it."""
    try:
        table = json.loads(layout.record.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return table if isinstance(table, dict) else {}


def note(layout: Layout, **changes: str | int | bool) -> None:
    """Note what is done before it is done, so that whatever there is can be removed."""
    files.write(layout.record, json.dumps(read(layout) | changes).encode())
