"""What an engine must not forget: read once at start, then changed row by row."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from sqlite3 import Connection
from typing import Any, Final

from msgspec.structs import asdict, replace

from pyworker.engine.core.key_limits import KeyLimits
from pyworker.engine.store.columns import to_columns, to_row
from pyworker.engine.store.database import IN_MEMORY, Database
from pyworker.engine.store.rows import AccountKeyRow, EndpointRow, GroupRow, Level, LogLine, WorkerRow
from pyworker.errors import BadRequest, NotFound

__all__ = ["Store"]

_LAST_BELIEVED: Final = 2**52  # a clock that says more (the year 2112, in µs) is wrong; JSON's numbers end at 2**53
LINES_KEPT: Final = 2000  # of each level of an endpoint's log
LONGEST_LINE: Final = 2000  # characters
_COARSE_S: Final = 3600.0


class Store:
    """Endpoints and their logs, workergroups, workers, account keys, and numbers that must not repeat.

    Each write is one transaction, and on the disk when it returns: one fsync, a millisecond on a good SSD and far more
    on a busy disk. So no call is quick enough for an event loop that serves requests: ``StoreThread`` takes them off it
    and keeps their order. Any thread may call. Every call may raise StoreError, which says what to do; then nothing has
    changed, and the same call may be made again.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    @classmethod
    def open(cls, path: Path | str) -> Store:
        """The store in this file, made when there is none and migrated when it is old; or ``":memory:"``.

        Raises StoreError, SecretsExposed.
        """
        return cls(Database.open(IN_MEMORY if str(path) == str(IN_MEMORY) else Path(path).absolute()))

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    def backup(self, path: Path) -> None:
        """Copy all of it, as it is at one moment, into a new file of mode 0600. Raises StoreError when that exists."""
        self._database.copy(path.absolute())

    # --- the engine ---

    @property
    def engine_id(self) -> str:
        """A name that no other store has."""
        return self._meta("engine_id") or ""

    @property
    def has_secrets(self) -> bool:
        """Whether secrets were made that belong to this store: they must not be made anew."""
        return self._meta("has_secrets") is not None

    def note_secrets(self) -> None:
        """Secrets were made that belong to this store."""
        with self._database.transaction() as connection:
            connection.execute("INSERT OR REPLACE INTO meta VALUES ('has_secrets', 'yes')")

    def reserve(self, name: str, count: int, *, at_least: int = 0) -> range:
        """``count`` numbers from 1, above all that were ever reserved under this name: none is given twice.

        They go on where the last ones ended, but not below ``at_least``: epoch µs, at an engine's start, keep numbers
        from going back when an old backup was put in place. A clock that goes back changes nothing.
        """
        least = max(1, at_least if at_least <= _LAST_BELIEVED else 0)
        with self._database.transaction() as connection:
            ((end,),) = connection.execute(
                "INSERT INTO counters VALUES (:name, :least + :count) "
                "ON CONFLICT (name) DO UPDATE SET next = max(next, :least) + :count RETURNING next",
                {"name": name, "least": least, "count": count},
            ).fetchall()
        return range(end - count, end)

    def _meta(self, name: str) -> str | None:
        rows = self._database.rows("SELECT value FROM meta WHERE name = ?", (name,))
        return rows[0]["value"] if rows else None

    # --- endpoints ---

    def endpoints(self) -> list[EndpointRow]:
        """All, oldest first; those that were deleted too, for as long as they have workers."""
        return [to_row(EndpointRow, row) for row in self._database.rows("SELECT * FROM endpoints ORDER BY id")]

    def add_endpoint(self, endpoint: EndpointRow) -> EndpointRow:
        """Store a new one; gives it with its id. Raises BadRequest when its name is empty or taken."""
        with self._database.transaction() as connection:
            _require_free(connection, endpoint)
            number = _insert(
                connection,
                "INSERT INTO endpoints (name, parameters, state, key_generation, created_epoch_s, "
                "auto_delete_in_seconds) VALUES (:name, :parameters, :state, :key_generation, :created_epoch_s, "
                ":auto_delete_in_seconds) RETURNING id",
                to_columns(endpoint),
            )
        return replace(endpoint, id=number)

    def save_endpoint(self, endpoint: EndpointRow) -> None:
        """Store a change; the key's generation never falls. Raises NotFound; BadRequest when its name is taken."""
        with self._database.transaction() as connection:
            _require_free(connection, endpoint)
            _change(
                connection,
                "UPDATE endpoints SET name = :name, parameters = :parameters, state = :state, "
                "key_generation = max(key_generation, :key_generation), "
                "auto_delete_in_seconds = :auto_delete_in_seconds WHERE id = :id AND deleted_epoch_s IS NULL",
                to_columns(endpoint),
            )

    def delete_endpoint(self, endpoint_id: int, epoch_s: float) -> None:
        """Delete it with its groups, and want its workers gone: it goes when the last is removed. Raises NotFound."""
        given = {"id": endpoint_id, "epoch_s": epoch_s}
        with self._database.transaction() as connection:
            _change(
                connection,
                "UPDATE endpoints SET deleted_epoch_s = :epoch_s WHERE id = :id AND deleted_epoch_s IS NULL",
                given,
            )
            connection.execute(
                "UPDATE workergroups SET deleted_epoch_s = :epoch_s "
                "WHERE endpoint_id = :id AND deleted_epoch_s IS NULL",
                given,
            )
            _forget_deleted(connection)

    # --- workergroups ---

    def workergroups(self) -> list[GroupRow]:
        """All, oldest first; those that were deleted too, for as long as they have workers."""
        return [to_row(GroupRow, row) for row in self._database.rows("SELECT * FROM workergroups ORDER BY id")]

    def add_workergroup(self, group: GroupRow) -> GroupRow:
        """Store a new one; gives it with its id. Raises NotFound when there is no such endpoint."""
        with self._database.transaction() as connection:
            number = _insert(
                connection,
                "INSERT INTO workergroups (endpoint_id, parameters, version, versions_made, previous_version, "
                "previous_launch, extra, created_epoch_s) SELECT id, :parameters, :version, :versions_made, "
                ":previous_version, :previous_launch, :extra, :created_epoch_s "
                "FROM endpoints WHERE id = :endpoint_id AND deleted_epoch_s IS NULL RETURNING id",
                to_columns(group),
            )
        return replace(group, id=number)

    def save_workergroup(self, group: GroupRow) -> None:
        """Store a change (see rows.changed, gone_back, settled). Raises NotFound."""
        with self._database.transaction() as connection:
            _change(
                connection,
                "UPDATE workergroups SET parameters = :parameters, version = :version, "
                "versions_made = :versions_made, previous_version = :previous_version, "
                "previous_launch = :previous_launch, extra = :extra WHERE id = :id AND deleted_epoch_s IS NULL",
                to_columns(group),
            )

    def delete_workergroup(self, group_id: int, epoch_s: float) -> None:
        """Delete it, and want its workers gone: it goes when the last is removed. Raises NotFound."""
        with self._database.transaction() as connection:
            _change(
                connection,
                "UPDATE workergroups SET deleted_epoch_s = :epoch_s WHERE id = :id AND deleted_epoch_s IS NULL",
                {"id": group_id, "epoch_s": epoch_s},
            )
            _forget_deleted(connection)

    # --- workers ---

    def workers(self) -> list[WorkerRow]:
        """All, oldest first."""
        return [to_row(WorkerRow, row) for row in self._database.rows("SELECT * FROM workers ORDER BY id")]

    def add_worker(self, worker: WorkerRow) -> WorkerRow:
        """Store a new one; gives it with its id. Raises NotFound when there is no such group."""
        with self._database.transaction() as connection:
            number = _insert(
                connection,
                "INSERT INTO workers (workergroup_id, token_digest, token_number, ticket_key_id, signature_scheme, "
                "rsa_generation, url, reported_id, version, wanted, was_ready, capacity_per_s, created_epoch_s) "
                "SELECT id, :token_digest, :token_number, :ticket_key_id, :signature_scheme, :rsa_generation, :url, "
                ":reported_id, :version, :wanted, :was_ready, :capacity_per_s, :created_epoch_s "
                "FROM workergroups WHERE id = :workergroup_id AND deleted_epoch_s IS NULL RETURNING id",
                to_columns(worker),
            )
        return replace(worker, id=number)

    def save_workers(self, workers: Iterable[WorkerRow]) -> None:
        """Store changes, all or none. Raises NotFound."""
        with self._database.transaction() as connection:
            for worker in workers:
                _change(
                    connection,
                    "UPDATE workers SET token_digest = :token_digest, token_number = :token_number, "
                    "ticket_key_id = :ticket_key_id, "
                    "signature_scheme = :signature_scheme, rsa_generation = :rsa_generation, url = :url, "
                    "reported_id = :reported_id, version = :version, wanted = :wanted, was_ready = :was_ready, "
                    "capacity_per_s = :capacity_per_s WHERE id = :id",
                    to_columns(worker),
                )

    def save_worker(self, worker: WorkerRow) -> None:
        """Store a change. Raises NotFound."""
        self.save_workers((worker,))

    def remove_worker(self, worker_id: int) -> None:
        """Forget it, and its group and endpoint if they were deleted and it was the last. Raises NotFound."""
        with self._database.transaction() as connection:
            _change(connection, "DELETE FROM workers WHERE id = :id", {"id": worker_id})
            _forget_deleted(connection)

    # --- account keys ---

    def account_keys(self) -> list[AccountKeyRow]:
        """All, oldest first; those that were revoked too."""
        return [to_row(AccountKeyRow, row) for row in self._database.rows("SELECT * FROM account_keys ORDER BY id")]

    def add_account_key(self, key: AccountKeyRow) -> AccountKeyRow:
        """Store a new one; gives it with its id."""
        with self._database.transaction() as connection:
            number = _insert(
                connection,
                "INSERT INTO account_keys (name, digest, created_epoch_s, requests_per_minute, workload_per_minute, "
                "concurrent) VALUES (:name, :digest, :created_epoch_s, :requests_per_minute, :workload_per_minute, "
                ":concurrent) RETURNING id",
                to_columns(key),
            )
        return replace(key, id=number)

    def limit_account_key(self, key_id: int, change: Callable[[KeyLimits], KeyLimits]) -> AccountKeyRow:
        """Other limits, made of those before; gives the key. Raises NotFound when it is unknown or was revoked."""
        with self._database.transaction() as connection:
            rows = connection.execute(
                "SELECT * FROM account_keys WHERE id = ? AND revoked_epoch_s IS NULL", (key_id,)
            ).fetchall()
            if not rows:
                raise NotFound(f"there is no account key with the id {key_id}, or it was revoked")
            key = to_row(AccountKeyRow, dict(rows[0]))
            key = replace(key, **asdict(change(key.limits)))
            connection.execute(
                "UPDATE account_keys SET requests_per_minute = :requests_per_minute, "
                "workload_per_minute = :workload_per_minute, concurrent = :concurrent WHERE id = :id",
                to_columns(key),
            )
        return key

    def revoke_account_key(self, key_id: int, epoch_s: float) -> None:
        """From now on it opens nothing. Raises NotFound when it is unknown or was revoked before."""
        with self._database.transaction() as connection:
            _change(
                connection,
                "UPDATE account_keys SET revoked_epoch_s = :epoch_s WHERE id = :id AND revoked_epoch_s IS NULL",
                {"id": key_id, "epoch_s": epoch_s},
            )

    def note_keys_used(self, used_epoch_s: Mapping[int, float]) -> None:
        """When keys, by id, were last used; kept to the hour, so that few of these calls write anything."""
        with self._database.transaction() as connection:
            connection.executemany(
                "UPDATE account_keys SET last_used_epoch_s = :hour "
                "WHERE id = :id AND coalesce(last_used_epoch_s, 0) < :hour",
                [{"id": key_id, "hour": used_s // _COARSE_S * _COARSE_S} for key_id, used_s in used_epoch_s.items()],
            )

    # --- an endpoint's log ---

    def add_log_lines(self, lines: Sequence[LogLine]) -> None:
        """Append them; of each level of an endpoint the newest LINES_KEPT stay, of one that is gone none."""
        with self._database.transaction() as connection:
            connection.executemany(
                "INSERT INTO log_lines (endpoint_id, workergroup_id, level, epoch_s, text) "
                "SELECT id, :workergroup_id, :level, :epoch_s, :text "
                "FROM endpoints WHERE id = :endpoint_id",
                [to_columns(line) | {"text": _storable(line.text)} for line in lines],
            )
            connection.executemany(
                "DELETE FROM log_lines WHERE endpoint_id = :endpoint_id AND level = :level AND id <= (SELECT id FROM "
                "log_lines WHERE endpoint_id = :endpoint_id AND level = :level ORDER BY id DESC LIMIT 1 OFFSET :kept)",
                [
                    {"endpoint_id": endpoint_id, "level": level, "kept": LINES_KEPT}
                    for endpoint_id, level in {(line.endpoint_id, line.level) for line in lines}
                ],
            )

    def log_lines(self, endpoint_id: int, level: Level, tail: int = LINES_KEPT) -> list[LogLine]:
        """The last ``tail`` lines of one level, oldest first."""
        rows = self._database.rows(
            "SELECT endpoint_id, workergroup_id, level, epoch_s, text FROM log_lines "
            "WHERE endpoint_id = ? AND level = ? ORDER BY id DESC LIMIT ?",
            (endpoint_id, level, max(0, min(tail, LINES_KEPT))),
        )
        return [to_row(LogLine, row) for row in reversed(rows)]


def _storable(text: str) -> str:
    """Cut to its length, and valid Unicode whatever a process wrote: one line must not keep others from the log."""
    return text[:LONGEST_LINE].encode(errors="replace").decode()


def _insert(connection: Connection, sql: str, columns: Mapping[str, Any]) -> int:
    rows = connection.execute(sql, columns).fetchall()
    if not rows:
        raise NotFound("this would belong to nothing that there is: it was deleted, or never was")
    return rows[0][0]


def _change(connection: Connection, sql: str, given: Mapping[str, Any]) -> None:
    if not connection.execute(sql, given).rowcount:
        raise NotFound(f"there is nothing with the id {given['id']}: it was deleted, or never was")


def _require_free(connection: Connection, endpoint: EndpointRow) -> None:
    taken = connection.execute(
        "SELECT 1 FROM endpoints WHERE name = ? AND id != ? AND deleted_epoch_s IS NULL", (endpoint.name, endpoint.id)
    ).fetchall()
    if taken or not endpoint.name:
        raise BadRequest(f"an endpoint's name is not empty and used once, not {endpoint.name!r}")


def _forget_deleted(connection: Connection) -> None:
    """What is deleted wants its workers gone, and goes itself once it has none."""
    connection.execute(
        "UPDATE workers SET wanted = 'gone' WHERE wanted != 'gone' AND workergroup_id IN "
        "(SELECT id FROM workergroups WHERE deleted_epoch_s IS NOT NULL)"
    )
    connection.execute(
        "DELETE FROM workergroups WHERE deleted_epoch_s IS NOT NULL AND id NOT IN (SELECT workergroup_id FROM workers)"
    )
    connection.execute(
        "DELETE FROM endpoints WHERE deleted_epoch_s IS NOT NULL AND id NOT IN (SELECT endpoint_id FROM workergroups)"
    )
