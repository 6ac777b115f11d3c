"""Find every problem of a parsed profile, each under its dotted key.

`msgspec.convert` stops at the first error; someone who writes a profile wants the whole list, so each leaf of the
schema is converted on its own.
"""

from __future__ import annotations

import difflib
import types
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, Union, get_args, get_origin, get_type_hints

import msgspec

from secateur_profiles.schema import Profile, Section


class Problem(NamedTuple):
    """One thing wrong: dotted key, and the reason with what to do."""

    key: str
    reason: str


def find_problems(table: dict[str, Any]) -> list[Problem]:
    """Check a parsed TOML table against the schema, the sources and the rules that span several keys.

    Args:
        table: what the TOML parser returned.

    Returns:
        All problems, those of the schema first; empty if the table is a valid profile.
    """
    problems = list(_schema_problems(Profile, table, ""))
    problems += _source_problems(table)
    if not problems:
        profile = msgspec.convert(table, Profile)
        problems += [Problem(key, reason) for key, reason, holds in _RULES if not holds(profile)]
    return problems


_RULES: list[tuple[str, str, Callable[[Profile], bool]]] = [
    ("precisions", "names a precision twice", lambda p: len(set(p.precisions)) == len(p.precisions)),
    ("runtime.threads", "is more than cpu.cores", lambda p: p.runtime.threads <= p.cpu.cores),
    (
        "memory.worker_limit_mb",
        "must be above memory.runtime_base_mb, or no model fits",
        lambda p: p.memory.runtime_base_mb < p.memory.worker_limit_mb,
    ),
    (
        "memory.worker_limit_mb",
        "is more than memory.total_mb",
        lambda p: p.memory.worker_limit_mb <= p.memory.total_mb,
    ),
    (
        "power.active_mw",
        "must be above power.idle_mw: it is the total at full load, not the increase",
        lambda p: p.power.idle_mw < p.power.active_mw,
    ),
    (
        "thermal.critical_c",
        "must be above thermal.throttle_c",
        lambda p: p.thermal.throttle_c < p.thermal.critical_c,
    ),
]


def _schema_problems(section: type[Section], table: dict[str, Any], prefix: str) -> Iterator[Problem]:
    fields = {field.name: field for field in msgspec.structs.fields(section)}
    hints = get_type_hints(section, include_extras=True)
    for key in table:
        if key not in fields:
            close = difflib.get_close_matches(key, fields, n=1)
            hint = f"; did you mean {close[0]}?" if close else ""
            yield Problem(prefix + _printable(key), "is not a key of a profile" + hint)
    for name, field in fields.items():
        key = prefix + name
        if name not in table:
            if field.required:
                yield Problem(key, "is missing")
            continue
        value, nested = table[name], _section_of(hints[name])
        if nested is None:
            try:
                msgspec.convert(value, hints[name])
            except (msgspec.ValidationError, OverflowError) as error:
                yield Problem(key, str(error))
        elif isinstance(value, dict):
            yield from _schema_problems(nested, value, key + ".")
        else:
            yield Problem(key, f"must be a table: write [{key}]")


def _source_problems(table: dict[str, Any]) -> Iterator[Problem]:
    sources = table.get("sources")
    if not isinstance(sources, dict):
        return  # already reported by the schema
    leaves = dict(_leaves({key: value for key, value in table.items() if key != "sources"}, ""))
    for key, value in leaves.items():
        if isinstance(value, (int, float)) and not isinstance(value, bool) and key not in sources:
            name = _printable(key)
            yield Problem(name, f'has no source: add "{name}" = "where the number comes from" under [sources]')
    for key in sources:
        if key not in leaves:
            yield Problem(f"sources.{_printable(key)}", "names a key that this profile does not have")


def _leaves(table: dict[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for key, value in table.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def _section_of(hint: Any) -> type[Section] | None:
    """The `Section` that a field holds, directly or as `Section | None`."""
    options = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
    for option in options:
        if isinstance(option, type) and issubclass(option, Section):
            return option
    return None


def _printable(key: str) -> str:
    return key if key.isprintable() else ascii(key)
