"""The tables, and the steps that lead there from any older version.

A step is never changed once it was released: what comes later is a step of its own, at the end of STEPS.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import Final

__all__ = ["APPLICATION_ID", "STEPS", "Step"]

APPLICATION_ID: Final = 0x70797765  # in the file's header: says that it is ours

Step = Callable[[sqlite3.Connection], None]

_FIRST: Final = (
    f"PRAGMA application_id = {APPLICATION_ID}",
    "CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT",
    "INSERT INTO meta VALUES ('engine_id', lower(hex(randomblob(16))))",
    """
    CREATE TABLE counters (
        name TEXT PRIMARY KEY,
        next INTEGER NOT NULL  -- the first number that was not reserved yet
    ) STRICT
    """,
    """
    CREATE TABLE account_keys (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        name TEXT NOT NULL,
        digest BLOB NOT NULL UNIQUE,
        created_epoch_s REAL NOT NULL,
        revoked_epoch_s REAL,
        last_used_epoch_s REAL
    ) STRICT
    """,
    """
    CREATE TABLE endpoints (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        name TEXT NOT NULL,
        parameters TEXT NOT NULL,  -- JSON
        state TEXT NOT NULL CHECK (state IN ('active', 'stopped')),
        key_generation INTEGER NOT NULL,
        created_epoch_s REAL NOT NULL,
        auto_delete_in_seconds REAL,
        deleted_epoch_s REAL
    ) STRICT
    """,
    "CREATE UNIQUE INDEX endpoint_names ON endpoints (name) WHERE deleted_epoch_s IS NULL",
    """
    CREATE TABLE workergroups (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        endpoint_id INTEGER NOT NULL REFERENCES endpoints (id),
        parameters TEXT NOT NULL,  -- JSON
        version INTEGER NOT NULL,
        versions_made INTEGER NOT NULL,
        previous_version INTEGER,
        previous_launch TEXT NOT NULL,  -- JSON
        extra TEXT NOT NULL,  -- JSON
        created_epoch_s REAL NOT NULL,
        deleted_epoch_s REAL
    ) STRICT
    """,
    "CREATE INDEX groups_of_endpoints ON workergroups (endpoint_id)",
    """
    CREATE TABLE workers (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        workergroup_id INTEGER NOT NULL REFERENCES workergroups (id),
        token_digest BLOB NOT NULL UNIQUE,
        ticket_key_id TEXT,
        signature_scheme INTEGER,
        rsa_generation INTEGER,
        url TEXT,
        reported_id INTEGER,
        version INTEGER NOT NULL,
        wanted TEXT NOT NULL CHECK (wanted IN ('active', 'cold', 'gone')),
        was_ready INTEGER NOT NULL,
        capacity_per_s REAL NOT NULL,
        created_epoch_s REAL NOT NULL
    ) STRICT
    """,
    "CREATE INDEX workers_of_groups ON workers (workergroup_id)",
    """
    CREATE TABLE log_lines (
        id INTEGER PRIMARY KEY,
        endpoint_id INTEGER NOT NULL REFERENCES endpoints (id) ON DELETE CASCADE,
        workergroup_id INTEGER,
        level TEXT NOT NULL CHECK (level IN ('info0', 'info1', 'trace', 'debug')),
        epoch_s REAL NOT NULL,
        text TEXT NOT NULL
    ) STRICT
    """,
    "CREATE INDEX log_lines_by_level ON log_lines (endpoint_id, level, id)",
)


def _first(connection: sqlite3.Connection) -> None:
    for statement in _FIRST:
        connection.execute(statement)


def _token_numbers(connection: sqlite3.Connection) -> None:
    connection.execute("ALTER TABLE workers ADD COLUMN token_number INTEGER NOT NULL DEFAULT 0")


def _key_limits(connection: sqlite3.Connection) -> None:
    for column in ("requests_per_minute REAL", "workload_per_minute REAL", "concurrent INTEGER"):
        connection.execute(f"ALTER TABLE account_keys ADD COLUMN {column} NOT NULL DEFAULT 0")


STEPS: Final[tuple[Step, ...]] = (_first, _token_numbers, _key_limits)
