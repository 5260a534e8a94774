"""A store of any older version is brought to the newest, with a backup beside it; one of a newer version is refused."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest

from pyworker.engine.core.key_limits import NO_LIMITS, KeyLimits
from pyworker.engine.core.parameters import EndpointParameters, GroupParameters, Launch
from pyworker.engine.store.database import Database
from pyworker.engine.store.rows import AccountKeyRow, EndpointRow, GroupRow, LogLine, WorkerRow
from pyworker.engine.store.schema import STEPS, Step
from pyworker.engine.store.store import Store
from pyworker.errors import StoreError, StoreTooNew
from tests.support.stores import a_worker, change, everything, mode

# A file as version 1 made it. Never to be changed: such files are out there.
VERSION_1 = """
PRAGMA application_id = 1887008613;
PRAGMA user_version = 1;
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
CREATE TABLE counters (name TEXT PRIMARY KEY, next INTEGER NOT NULL) STRICT;
CREATE TABLE account_keys (
    id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL, digest BLOB NOT NULL UNIQUE,
    created_epoch_s REAL NOT NULL, revoked_epoch_s REAL, last_used_epoch_s REAL
) STRICT;
CREATE TABLE endpoints (
    id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL, parameters TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('active', 'stopped')), key_generation INTEGER NOT NULL,
    created_epoch_s REAL NOT NULL, auto_delete_in_seconds REAL, deleted_epoch_s REAL
) STRICT;
CREATE UNIQUE INDEX endpoint_names ON endpoints (name) WHERE deleted_epoch_s IS NULL;
CREATE TABLE workergroups (
    id INTEGER PRIMARY KEY AUTOINCREMENT, endpoint_id INTEGER NOT NULL REFERENCES endpoints (id),
    parameters TEXT NOT NULL, version INTEGER NOT NULL, versions_made INTEGER NOT NULL, previous_version INTEGER,
    previous_launch TEXT NOT NULL, extra TEXT NOT NULL, created_epoch_s REAL NOT NULL, deleted_epoch_s REAL
) STRICT;
CREATE INDEX groups_of_endpoints ON workergroups (endpoint_id);
CREATE TABLE workers (
    id INTEGER PRIMARY KEY AUTOINCREMENT, workergroup_id INTEGER NOT NULL REFERENCES workergroups (id),
    token_digest BLOB NOT NULL UNIQUE, ticket_key_id TEXT, signature_scheme INTEGER, rsa_generation INTEGER,
    url TEXT, reported_id INTEGER, version INTEGER NOT NULL,
    wanted TEXT NOT NULL CHECK (wanted IN ('active', 'cold', 'gone')), was_ready INTEGER NOT NULL,
    capacity_per_s REAL NOT NULL, created_epoch_s REAL NOT NULL
) STRICT;
CREATE INDEX workers_of_groups ON workers (workergroup_id);
CREATE TABLE log_lines (
    id INTEGER PRIMARY KEY, endpoint_id INTEGER NOT NULL REFERENCES endpoints (id) ON DELETE CASCADE,
    workergroup_id INTEGER, level TEXT NOT NULL CHECK (level IN ('info0', 'info1', 'trace', 'debug')),
    epoch_s REAL NOT NULL, text TEXT NOT NULL
) STRICT;
CREATE INDEX log_lines_by_level ON log_lines (endpoint_id, level, id);
INSERT INTO meta VALUES ('engine_id', 'an engine'), ('written_by', '0.1.0');
INSERT INTO counters VALUES ('request_idx', 1001);
INSERT INTO account_keys VALUES (2, 'laptop', x'ab', 5.0, NULL, 7200.0);
INSERT INTO endpoints VALUES (3, 'chat', '{"min_load":2.5,"cold_workers":1}', 'stopped', 4, 6.0, 60.0, NULL);
INSERT INTO workergroups VALUES (5, 3, '{"provider":"local","launch":{"worker":["two"]}}', 2, 2, 1,
    '{"worker":["one"],"environment":{"A":"b"}}', '{"gpu_ram":24}', 7.0, NULL);
INSERT INTO workers VALUES (8, 5, x'cd', '1-0a', NULL, 1, 'http://10.0.0.1:80', 44, 1, 'cold', 1, 12.5, 8.0);
INSERT INTO log_lines VALUES (1, 3, 5, 'info1', 9.0, 'a worker was started');
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "engine.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(VERSION_1)
    path.chmod(0o600)
    return path


def schema(path: Path) -> set[tuple[str, str]]:
    """All tables and indices: name and SQL, without comments and line ends."""
    with closing(sqlite3.connect(path)) as connection:
        found = connection.execute("SELECT name, sql FROM sqlite_schema WHERE sql IS NOT NULL").fetchall()
    return {(name, plain(sql)) for name, sql in found}


def plain(sql: str) -> str:
    words = " ".join(line.partition("--")[0] for line in sql.splitlines()).split()
    return " ".join(words).replace("( ", "(").replace(" )", ")").replace(" ,", ",")


def version_of(path: Path) -> int:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute("PRAGMA user_version").fetchone()[0]


def test_a_store_of_version_1_is_read_whole(path: Path) -> None:
    store = Store.open(path)
    assert store.engine_id == "an engine"
    assert store.reserve("request_idx", 1) == range(1001, 1002)
    assert store.account_keys() == [
        AccountKeyRow(id=2, name="laptop", digest=b"\xab", created_epoch_s=5.0, last_used_epoch_s=7200.0)
    ]
    assert store.endpoints() == [
        EndpointRow(
            id=3,
            name="chat",
            parameters=EndpointParameters(min_load=2.5, cold_workers=1),
            state="stopped",
            key_generation=4,
            created_epoch_s=6.0,
            auto_delete_in_seconds=60.0,
        )
    ]
    assert store.workergroups() == [
        GroupRow(
            id=5,
            endpoint_id=3,
            parameters=GroupParameters(provider="local", launch=Launch(worker=("two",))),
            version=2,
            versions_made=2,
            previous_version=1,
            previous_launch=Launch(worker=("one",), environment={"A": "b"}),
            extra={"gpu_ram": 24},
            created_epoch_s=7.0,
        )
    ]
    assert store.workers() == [
        WorkerRow(
            id=8,
            workergroup_id=5,
            token_digest=b"\xcd",
            ticket_key_id="1-0a",
            rsa_generation=1,
            url="http://10.0.0.1:80",
            reported_id=44,
            wanted="cold",
            was_ready=True,
            capacity_per_s=12.5,
            created_epoch_s=8.0,
        )
    ]
    assert store.log_lines(3, "info1") == [
        LogLine(endpoint_id=3, workergroup_id=5, epoch_s=9.0, level="info1", text="a worker was started")
    ]
    store.close()


def test_keys_of_a_store_without_limits_have_none_and_get_them(path: Path) -> None:
    migrated = Database.open(path, STEPS[:2])
    assert "concurrent" not in migrated.rows("SELECT * FROM account_keys")[0]
    migrated.close()
    store = Store.open(path)
    assert [key.limits for key in store.account_keys()] == [NO_LIMITS]
    limits = KeyLimits(requests_per_minute=1.5, workload_per_minute=1e6, concurrent=3)
    assert store.limit_account_key(2, lambda _: limits).limits == limits
    store.close()
    assert (version_of(path), version_of(path.with_name("engine.db.version-2"))) == (3, 2)


def test_what_migration_leads_to_is_what_a_new_store_is(path: Path, tmp_path: Path) -> None:
    for file in (path, tmp_path / "new.db"):
        Store.open(file).close()
    assert schema(path) == schema(tmp_path / "new.db")


# --- steps to come --------------------------------------------------------------------------------


def rename_a_column(connection: sqlite3.Connection) -> None:
    connection.execute("ALTER TABLE endpoints RENAME COLUMN name TO title")


def make_a_table_anew(connection: sqlite3.Connection) -> None:
    connection.execute("CREATE TABLE anew (id INTEGER PRIMARY KEY, title TEXT NOT NULL) STRICT")
    connection.execute("INSERT INTO anew SELECT id, title FROM endpoints")
    connection.execute("DROP TABLE endpoints")
    connection.execute("ALTER TABLE anew RENAME TO endpoints")


def fail(connection: sqlite3.Connection) -> None:
    connection.execute("DELETE FROM workers")
    connection.execute("SELECT nothing FROM nowhere")


def lose_rows_that_others_refer_to(connection: sqlite3.Connection) -> None:
    connection.execute("DELETE FROM endpoints")


def migrate(path: Path, *more: Step) -> None:
    Database.open(path, (*STEPS, *more)).close()


def titles(path: Path) -> Sequence[tuple[str]]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute("SELECT title FROM endpoints").fetchall()


def test_steps_are_taken_one_after_the_other_and_the_backup_is_of_before(path: Path) -> None:
    migrate(path, rename_a_column, make_a_table_anew)
    assert (version_of(path), titles(path)) == (len(STEPS) + 2, [("chat",)])
    backup = path.with_name("engine.db.version-1")
    assert (version_of(backup), mode(backup)) == (1, 0o600)
    store = Store.open(backup)
    assert [endpoint.name for endpoint in store.endpoints()] == ["chat"]
    store.close()


def test_a_step_is_taken_once(path: Path) -> None:
    migrate(path, rename_a_column)
    migrate(path, rename_a_column)
    migrate(path, rename_a_column, make_a_table_anew)
    assert titles(path) == [("chat",)]
    assert path.with_name(f"engine.db.version-{len(STEPS) + 1}").exists()


@pytest.mark.parametrize("wrong", [fail, lose_rows_that_others_refer_to])
def test_a_step_that_fails_changes_nothing_and_can_be_taken_again(path: Path, wrong: Step) -> None:
    store = Store.open(path)
    before = everything(store)
    store.close()
    for _ in range(2):
        with pytest.raises(StoreError):
            migrate(path, wrong)
    store = Store.open(path)
    assert everything(store) == before
    store.close()
    migrate(path, rename_a_column)
    assert titles(path) == [("chat",)]


def test_a_store_of_a_newer_version_is_refused_and_left_as_it_is(path: Path) -> None:
    change(path, "PRAGMA user_version = 99", "UPDATE meta SET value = '9.8.7' WHERE name = 'written_by'")
    before = path.read_bytes()
    with pytest.raises(StoreTooNew, match=r"newer pyworker \(9\.8\.7; its format is 99, this one knows \d+\)"):
        Store.open(path)
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_a_new_store_has_no_backup_beside_it(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "new.db")
    a_worker(store)
    store.close()
    assert [file.name for file in tmp_path.iterdir()] == ["new.db"]
