"""The results: a JSON list of rows. A row that was not measured again keeps its value, machine and date."""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

_TYPES = {
    "id": (str,),
    "case": (str,),
    "value": (int, float),
    "target": (str,),
    "unit": (str,),
    "met": (bool,),
    "machine": (str,),
    "date": (str,),
}


class RowsError(ValueError):
    """A file of rows cannot be read; one line that says where."""


@dataclass(frozen=True)
class Row:
    """One measured figure.

    Attributes:
        id: the figure; ``case``: what it was measured on.
        value: in ``unit``; ``target``: as text, such as ``≤ 1.1``; ``met``: whether the value meets it.
        machine: what it was measured on; ``date``: when, as YYYY-MM-DD.
    """

    id: str
    case: str
    value: float
    target: str
    unit: str
    met: bool
    machine: str
    date: str


def read_rows(path: Path) -> list[Row]:
    """Read rows; none if there is no file.

    Raises:
        RowsError: if the file is not a list of rows.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return []
    except (OSError, ValueError) as error:
        raise RowsError(f"{path}: cannot be read: {error}; mend or delete it") from None
    if not isinstance(found, list):
        raise RowsError(f"{path}: expected a list of rows")
    return [_row(item, f"{path}: row {number}") for number, item in enumerate(found)]


def merge_rows(old: Iterable[Row], new: Iterable[Row], order: Collection[str]) -> list[Row]:
    """Return the old rows, those of the figures that were measured now replaced.

    All rows of a figure are replaced at once, so that a case which is no more does not stay for ever.

    Args:
        old: what there was.
        new: what was measured now.
        order: ids in the order wanted; ids that are not in it come last.
    """
    new = list(new)
    measured = {row.id for row in new}
    merged = [row for row in old if row.id not in measured] + new
    places = {figure: place for place, figure in enumerate(order)}
    return sorted(merged, key=lambda row: places.get(row.id, len(places)))


def write_rows(path: Path, rows: Iterable[Row]) -> None:
    """Write rows, the whole file or nothing."""
    text = json.dumps([asdict(row) for row in rows], indent=1, ensure_ascii=False) + "\n"
    part = path.with_suffix(".part")
    path.parent.mkdir(parents=True, exist_ok=True)
    part.write_text(text, encoding="utf-8")
    os.replace(part, path)


def _row(item: Any, where: str) -> Row:
    names = [field.name for field in fields(Row)]
    if not isinstance(item, dict) or sorted(item) != sorted(names):
        raise RowsError(f"{where}: expected an object with {', '.join(names)}")
    for name, types in _TYPES.items():
        if not isinstance(item[name], types) or (isinstance(item[name], bool) and bool not in types):
            raise RowsError(f"{where}: {name}: {item[name]!r} is not of type {' or '.join(t.__name__ for t in types)}")
    return Row(**item)
