"""The SQLite file: opened, checked, migrated; and its transactions."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from pyworker.engine.private_files import require_private
from pyworker.engine.store.backup import copy_store, copy_store_file
from pyworker.engine.store.failures import explained
from pyworker.engine.store.schema import APPLICATION_ID, STEPS, Step
from pyworker.errors import StoreDamaged, StoreError, StoreNotWritable, StoreTooNew
from pyworker.version import __version__

__all__ = ["IN_MEMORY", "Database"]

IN_MEMORY: Final = Path(":memory:")
OLDEST_SQLITE: Final = (3, 37)  # the first with STRICT tables
BUSY_S: Final = 5.0  # how long another program (a backup, a shell) may keep us waiting

# FULL: a commit is on the disk when it returns. NORMAL would let a power cut undo the last ones, and a number that was
# given, or a key that was revoked, would be given or valid again. fullfsync is the same on macOS.
_SETTINGS: Final = (
    "PRAGMA synchronous = FULL",
    "PRAGMA fullfsync = ON",
    "PRAGMA foreign_keys = ON",
    "PRAGMA trusted_schema = OFF",
    "PRAGMA journal_size_limit = 4194304",
)


class Database:
    """One connection, used by one thread at a time. Every error it raises is a StoreError that says what to do."""

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self.path = path
        self._connection = connection
        self._lock = threading.RLock()

    @classmethod
    def open(cls, path: Path, steps: Sequence[Step] = STEPS) -> Database:
        """Open the file, made when there is none, and bring it to the version that ``steps`` lead to."""
        if sqlite3.sqlite_version_info < OLDEST_SQLITE:
            raise StoreError(f"SQLite {sqlite3.sqlite_version} is too old: the engine's store needs 3.37 or newer")
        with explained(path):
            if path != IN_MEMORY:
                _make_private(path)
            connection = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
            try:
                connection.row_factory = sqlite3.Row
                _require_ours(connection, path, len(steps))
                _set_up(connection, path)
                _migrate(connection, path, steps)
            except BaseException:
                connection.close()
                raise
        return cls(connection, path)

    def rows(self, sql: str, parameters: Sequence[Any] = ()) -> list[dict[str, Any]]:
        """What a query finds."""
        with self._lock, explained(self.path):
            return [dict(row) for row in self._connection.execute(sql, parameters).fetchall()]

    @contextmanager
    def transaction(self) -> Generator[sqlite3.Connection]:
        """All that is done within is stored, on the disk, when it is left; or nothing of it."""
        with self._lock, explained(self.path), _transaction(self._connection):
            yield self._connection

    def copy(self, target: Path) -> None:
        """A backup; the store may be written meanwhile."""
        if self.path != IN_MEMORY:
            copy_store_file(self.path, target)  # with a connection of its own, which no write waits for
            return
        with self._lock:
            copy_store(self._connection, target)

    def close(self) -> None:
        """Close the file. May be called twice."""
        with self._lock, explained(self.path):
            self._connection.close()


def _make_private(path: Path) -> None:
    """The file, mode 0600. One that is there is not opened: closing it would end the locks that SQLite has on it."""
    if path.exists():
        require_private(path)
    else:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))


@contextmanager
def _transaction(connection: sqlite3.Connection) -> Generator[None]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:  # a full disk may have ended it
            connection.execute("ROLLBACK")
        raise


def _number(connection: sqlite3.Connection, pragma: str) -> int:
    return connection.execute(f"PRAGMA {pragma}").fetchone()[0]


def _require_ours(connection: sqlite3.Connection, path: Path, newest: int) -> None:
    """Raises StoreError before anything is changed in a file that is not ours, damaged or too new."""
    tables = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]
    if not tables:
        return
    if _number(connection, "application_id") != APPLICATION_ID:
        raise StoreError(f"{path} belongs to another program: name another data directory with --data-dir")
    version = _number(connection, "user_version")
    if version > newest:
        written_by = connection.execute("SELECT value FROM meta WHERE name = 'written_by'").fetchone()
        raise StoreTooNew(
            f"{path} was made by a newer pyworker ({written_by[0] if written_by else 'unknown'}; its format is "
            f"{version}, this one knows {newest}): run that version, or restore the backup of before it was migrated"
        )
    problems = [row[0] for row in connection.execute("PRAGMA quick_check(1)").fetchall()]
    if problems != ["ok"]:
        raise StoreDamaged(f"{path} is damaged ({problems[0]}): move it away and put a backup in its place")


def _set_up(connection: sqlite3.Connection, path: Path) -> None:
    for setting in _SETTINGS:
        connection.execute(setting)
    mode = connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
    if path != IN_MEMORY and mode != "wal":
        raise StoreNotWritable(f"{path} is on a file system without shared memory (a network's?): use a local disk")


def _migrate(connection: sqlite3.Connection, path: Path, steps: Sequence[Step]) -> None:
    """Each step is a transaction with the version it leads to; a backup beside the file comes first."""
    version = _number(connection, "user_version")
    if version == len(steps):
        return
    if version and path != IN_MEMORY:
        copy_store(connection, path.with_name(f"{path.name}.version-{version}"), replace=True)
    connection.execute("PRAGMA foreign_keys = OFF")  # so that a step may make a table anew
    for number, step in enumerate(steps[version:], version + 1):
        with _transaction(connection):
            step(connection)
            if connection.execute("PRAGMA foreign_key_check").fetchone() is not None:
                raise StoreError(f"{path} cannot be brought to format {number}: rows would refer to nothing")
            connection.execute(f"PRAGMA user_version = {number}")
            connection.execute("INSERT OR REPLACE INTO meta VALUES ('written_by', ?)", (__version__,))
    connection.execute("PRAGMA foreign_keys = ON")
