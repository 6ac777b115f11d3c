"""Renders the rows as a page for people."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from .figures import Figure
from .rows import Row

_HEAD = """# What Secateur reaches

Written by `make bench` from [benchmarks.json](benchmarks.json); do not edit it by hand.

- All figures again: `make bench` (about half an hour on two idle cores).
- Some of them: `python -m tests.benchmarks bundle-ratio switch-p99`. The others keep their rows and dates.
- Those that take hours: `make bench-full`. It leaves raw rows in `docs/benchmarks-raw` and goes on after the last.

Each figure is a ratio of two things measured side by side in one run wherever that is possible, because absolute times
depend on the machine. A **ladder** is a set of nested networks of one model, a **rung** is one of them; its shared weights
are slices of the **base**; a **recipe** says how to write a rung's model file from it (to *materialise* it); a **bundle** is
base, recipes and signed manifest for one kind of device. The words are explained in the [README](../README.md).
"""


def render_page(rows: Iterable[Row], figures: Mapping[str, Figure]) -> str:
    """Return the page in Markdown.

    Args:
        rows: what was measured.
        figures: id → what it means; a row without one is still shown.
    """
    rows = list(rows)
    parts = [_HEAD, *_summary(rows, figures)]
    for figure in _ids(rows, figures):
        mine = [row for row in rows if row.id == figure]
        parts += [f"\n## `{figure}`\n", figures[figure].meaning if figure in figures else "No longer measured.", ""]
        if not mine:
            parts.append("Not measured yet.")
            continue
        parts += ["| case | figure | target | met | date |", "|---|---|---|---|---|"]
        parts += [f"| {_cell(row.case)} | {_value(row)} | {row.target} | {_met(row)} | {row.date} |" for row in mine]
    parts += ["\n## Machines\n"]
    for machine in dict.fromkeys(row.machine for row in rows):
        dates = ", ".join(dict.fromkeys(row.date for row in rows if row.machine == machine))
        parts.append(f"- {machine} ({dates})")
    return "\n".join(parts).rstrip() + "\n"


def _summary(rows: list[Row], figures: Mapping[str, Figure]) -> list[str]:
    """One line per figure, with its worst row: the lowest where the target is a least value, else the highest."""
    lines = ["| figure | value | target | met |", "|---|---|---|---|"]
    for figure in _ids(rows, figures):
        mine = [row for row in rows if row.id == figure]
        if not mine:
            lines.append(f"| [`{figure}`](#{figure}) | not measured yet | {figures[figure].target} | – |")
            continue
        worst = min if mine[0].target.startswith("≥") else max
        shown = worst(mine, key=lambda row: row.value)
        values = " · ".join(_value(row) for row in (mine if len(mine) <= 2 else [shown]))
        lines.append(f"| [`{figure}`](#{figure}) | {values} | {shown.target} | {_met(shown)} |")
    return lines


def _ids(rows: list[Row], figures: Mapping[str, Figure]) -> list[str]:
    return list(dict.fromkeys([*figures, *(row.id for row in rows)]))


def _value(row: Row) -> str:
    return f"{row.value:.4g}" if row.unit == "ratio" else f"{row.value:.4g} {row.unit}"


def _met(row: Row) -> str:
    return "yes" if row.met else "**no**"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
