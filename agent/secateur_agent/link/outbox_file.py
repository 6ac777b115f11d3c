"""The SQLite file of the outbox: rows of samples, and the last number given out in each boot.

Write-ahead log with ``synchronous=NORMAL``: a commit writes a few pages and syncs nothing; only checkpoints sync. A killed
process loses no commit; a power cut may lose the last ones, and never damages what is older.
"""

from __future__ import annotations

import contextlib
import logging
import secrets
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple, TypeVar

from secateur_agent.store import StoreError

T = TypeVar("T")

_SCHEMA = """
CREATE TABLE IF NOT EXISTS samples (row INTEGER PRIMARY KEY AUTOINCREMENT, boot TEXT NOT NULL, seq INTEGER NOT NULL,
    body BLOB NOT NULL);
CREATE INDEX IF NOT EXISTS samples_by_boot ON samples (boot, seq);
CREATE TABLE IF NOT EXISTS boots (boot TEXT PRIMARY KEY, last_seq INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL);
INSERT OR IGNORE INTO counters VALUES ('dropped', 0);
"""

_DAMAGE = (
    "malformed",
    "not a database",
    "no such",
    "has no column",
    "already exists",
    "UTF-8",
    "unsupported file format",
)
_LAST_SEQ = "INSERT INTO boots VALUES (?, ?) ON CONFLICT (boot) DO UPDATE SET last_seq = excluded.last_seq"

_log = logging.getLogger(__name__)


class Row(NamedTuple):
    """One sample on disk; rows count up over all boots."""

    row: int
    boot: str
    seq: int
    body: bytes


class OutboxFile:
    """Rows on disk. Attributes: ``last_seq`` of this boot, ``dropped`` (samples lost to the bound or to damage)."""

    def __init__(self, path: Path, boot: str) -> None:
        """Open or create the file; set a damaged one aside.

        Raises:
            StoreError: if it cannot be created or written.
        """
        self._path = path
        self._boot = boot
        self.last_seq = 0
        self.dropped = 0
        self._held = 0
        self._connection = self._open()

    def add(self, rows: list[tuple[int, bytes]], max_rows: int) -> None:
        """Commit samples ``(seq, body)`` of this boot, and drop the oldest of all beyond ``max_rows``.

        Raises:
            StoreError: if they cannot be written; nothing has changed then.
        """

        def work() -> int:
            with self._transaction() as database:
                database.executemany(
                    "INSERT INTO samples (boot, seq, body) VALUES (?, ?, ?)", [(self._boot, *row) for row in rows]
                )
                database.execute(_LAST_SEQ, (self._boot, rows[-1][0]))
                excess = max(0, self._held + len(rows) - max_rows)
                if excess:
                    database.execute(
                        "DELETE FROM samples WHERE row IN (SELECT row FROM samples ORDER BY row LIMIT ?)", (excess,)
                    )
                    database.execute("UPDATE counters SET value = value + ? WHERE name = 'dropped'", (excess,))
            return excess

        excess = self._guarded(work)
        self._held += len(rows) - excess
        self.dropped += excess
        self.last_seq = rows[-1][0]

    def oldest(self, after_row: int, limit: int) -> list[Row]:
        """Return the oldest rows after ``after_row`` that are all of one boot; none if the file was found damaged."""

        def work() -> list[Row]:
            query = "SELECT row, boot, seq, body FROM samples WHERE row > ? ORDER BY row LIMIT ?"
            found = [Row(*values) for values in self._query(query, after_row, limit)]
            return [row for row in found if row.boot == found[0].boot]

        return self._guarded(work)

    def first_held(self, boot: str) -> int:
        """Return the lowest number of ``boot`` that is here."""
        return self._guarded(lambda: int(self._query("SELECT min(seq) FROM samples WHERE boot = ?", boot)[0][0] or 0))

    def forget(self, boot: str, seq: int) -> int:
        """Delete the samples of ``boot`` up to ``seq`` and return how many they were.

        Raises:
            StoreError: if the file cannot be written.
        """

        def work() -> int:
            with self._transaction() as database:
                return database.execute("DELETE FROM samples WHERE boot = ? AND seq <= ?", (boot, seq)).rowcount

        forgotten = self._guarded(work)
        self._held -= forgotten
        return forgotten

    def drop_row(self, row: int) -> None:
        """Delete one row that cannot be read, and count it as dropped.

        Raises:
            StoreError: if the file cannot be written.
        """

        def work() -> None:
            with self._transaction() as database:
                database.execute("DELETE FROM samples WHERE row = ?", (row,))
                database.execute("UPDATE counters SET value = value + 1 WHERE name = 'dropped'")

        self._guarded(work)
        self._held -= 1
        self.dropped += 1

    def count(self) -> int:
        """Return how many samples are here."""
        return self._held

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def _open(self) -> sqlite3.Connection:
        try:
            return self._connect()
        except sqlite3.DatabaseError as error:
            if not _means_damage(error):
                raise self._error(error) from None
        self._set_aside()
        try:
            connection = self._connect()
        except sqlite3.Error as error:
            raise self._error(error) from None
        # Which numbers this boot has used is lost with the file: go on far above them.
        self.last_seq = (1 << 40) + secrets.randbelow(1 << 50)
        connection.execute(_LAST_SEQ, (self._boot, self.last_seq))
        return connection

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, timeout=2.0, isolation_level=None)
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")
            connection.execute("PRAGMA journal_size_limit = 1048576")
            if connection.execute("PRAGMA quick_check(1)").fetchone()[0] != "ok":
                raise sqlite3.DatabaseError("database disk image is malformed")
            connection.executescript(_SCHEMA)
            last = connection.execute("SELECT last_seq FROM boots WHERE boot = ?", (self._boot,)).fetchone()
            connection.execute("DELETE FROM boots WHERE boot <> ?", (self._boot,))
            self._held = int(connection.execute("SELECT count(*) FROM samples").fetchone()[0])
            self.dropped = int(connection.execute("SELECT value FROM counters WHERE name = 'dropped'").fetchone()[0])
            self.last_seq = int(last[0]) if last else 0
        except BaseException:
            connection.close()
            raise
        return connection

    def _query(self, query: str, *values: object) -> list[tuple[int, str, int, bytes]]:
        return self._connection.execute(query, values).fetchall()

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield self._connection
            self._connection.execute("COMMIT")
        except BaseException:
            with contextlib.suppress(sqlite3.Error):
                self._connection.execute("ROLLBACK")
            raise

    def _guarded(self, work: Callable[[], T]) -> T:
        """Run ``work``; once more, on a new file, if the old one turns out to be damaged."""
        try:
            return work()
        except sqlite3.DatabaseError as error:
            if not _means_damage(error):
                raise self._error(error) from None
        last_seq, dropped = self.last_seq, self.dropped + self._held
        self._connection.close()
        self._set_aside()
        try:
            self._connection = self._connect()
            self.last_seq, self.dropped = last_seq, dropped
            self._connection.execute(_LAST_SEQ, (self._boot, last_seq))
            self._connection.execute("UPDATE counters SET value = ? WHERE name = 'dropped'", (dropped,))
            return work()
        except sqlite3.Error as error:
            raise self._error(error) from None

    def _set_aside(self) -> None:
        damaged = self._path.with_name(self._path.name + ".damaged")
        _log.warning("outbox %s is damaged; it is kept as %s and a new one is begun", self._path, damaged.name)
        try:
            self._path.replace(damaged)
            for suffix in ("-wal", "-shm"):
                self._path.with_name(self._path.name + suffix).unlink(missing_ok=True)
        except OSError as error:
            raise StoreError(f"outbox {self._path}: damaged, and cannot be set aside: {error.strerror}") from None

    def _error(self, error: sqlite3.Error) -> StoreError:
        return StoreError(f"outbox {self._path}: {error}; free some space, or make its folder writable for the agent")


def _means_damage(error: sqlite3.Error) -> bool:
    """SQLITE_CORRUPT and SQLITE_NOTADB, and tables that are not ours; not a full or read-only disk."""
    return any(sign in str(error) for sign in _DAMAGE)
