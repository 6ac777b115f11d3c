"""Registries: names under which files register what they bring."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Generic, TypeVar

Entry = TypeVar("Entry")


class DuplicateError(RuntimeError):
    """Two files register the same name: a fault of the program, not of its user."""


class Registry(dict[str, Entry], Generic[Entry]):
    """What is registered, by name. A name is taken once, so that the order of imports never decides."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind

    def register(self, names: Iterable[str], entry: Entry) -> None:
        """Register an entry.

        Args:
            names: under which.
            entry: what.

        Raises:
            DuplicateError: if a name is taken.
        """
        for name in names:
            if name in self:
                raise DuplicateError(f"{self.kind} {name!r} is registered twice: {_origin(self[name])} and {_origin(entry)}")
            self[name] = entry


def _origin(entry: object) -> str:
    return f"{getattr(entry, '__module__', '?')}.{getattr(entry, '__qualname__', entry)}"
