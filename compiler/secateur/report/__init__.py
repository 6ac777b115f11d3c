"""What a compilation made, for people (``report.html``) and for programs (``report.json``)."""

from __future__ import annotations

from pathlib import Path

import msgspec

from secateur.report.html import render
from secateur.report.summary import Report, notes, summarise
from secateur_agent.store.files import write_atomic

__all__ = ["Report", "notes", "render", "summarise", "write_report"]


def write_report(folder: Path, result: object) -> None:
    """Write ``report.json`` and ``report.html`` for what `secateur.pipeline.compile` returned."""
    report = summarise(result)
    write_atomic(folder / "report.json", msgspec.json.format(msgspec.json.encode(report)) + b"\n")
    write_atomic(folder / "report.html", render(report).encode())
