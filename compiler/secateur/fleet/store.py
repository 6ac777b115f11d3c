"""The controller's database: SQLite in WAL mode, so that readers never wait and a killed host loses nothing committed."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, create_engine, event
from sqlalchemy.exc import DBAPIError

from secateur.fleet.schema import metadata


class StoreError(ValueError):
    """The database cannot be opened, read or written."""


class Store:
    """One database file. Every method may be called from any thread; writers take turns."""

    def __init__(self, path: Path) -> None:
        """Open the database, creating it if need be.

        Args:
            path: the file; its folder must exist.

        Raises:
            StoreError: if it cannot be opened or is not a database.
        """
        self._path = path
        self._lock = threading.Lock()
        self._engine = create_engine(f"sqlite:///{path}", connect_args={"timeout": 10.0})
        event.listen(self._engine, "connect", _configure)
        with self.write() as connection:
            metadata.create_all(connection)

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """One transaction: committed, on disk, when the block ends; rolled back if it raises.

        Raises:
            StoreError: if the database refuses (disk full, not writable, damaged).
        """
        with self._lock, self._guard(), self._engine.begin() as connection:
            yield connection

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A consistent view for queries.

        Raises:
            StoreError: if the database cannot be read.
        """
        with self._guard(), self._engine.connect() as connection:
            yield connection

    def close(self) -> None:
        """Close all connections."""
        with self._lock:
            self._engine.dispose()

    @contextmanager
    def _guard(self) -> Iterator[None]:
        try:
            yield
        except DBAPIError as error:
            raise StoreError(f"database {self._path}: {error.orig}") from None


def _configure(connection: Any, _record: Any) -> None:
    """WAL; FULL because an acknowledged sample is forgotten by its device, so it must outlast a power cut here."""
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()
