"""Rows to put into a store, and what it takes to look at one."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from pyworker.engine.core.parameters import EndpointParameters, GroupParameters, Launch
from pyworker.engine.store.rows import AccountKeyRow, EndpointRow, GroupRow, LogLine, WorkerRow
from pyworker.engine.store.store import Store


def endpoint_row(name: str = "chat", parameters: EndpointParameters | None = None) -> EndpointRow:
    """A new endpoint."""
    return EndpointRow(name=name, parameters=parameters or EndpointParameters(), created_epoch_s=1.7e9)


def group_row(endpoint: EndpointRow, command: str = "serve") -> GroupRow:
    """A new group of it."""
    parameters = GroupParameters(provider="local", launch=Launch(worker=(command,)))
    return GroupRow(endpoint_id=endpoint.id, parameters=parameters, created_epoch_s=1.7e9)


def worker_row(group: GroupRow, digest: str = "one") -> WorkerRow:
    """A new worker of it."""
    return WorkerRow(workergroup_id=group.id, token_digest=digest.encode(), created_epoch_s=1.7e9)


def key_row(name: str = "laptop") -> AccountKeyRow:
    """A new account key."""
    return AccountKeyRow(name=name, digest=name.encode(), created_epoch_s=1.7e9)


def a_worker(store: Store) -> WorkerRow:
    """A worker with its group and its endpoint."""
    endpoint = store.add_endpoint(endpoint_row())
    return store.add_worker(worker_row(store.add_workergroup(group_row(endpoint))))


def lines(endpoint: EndpointRow, *texts: str) -> list[LogLine]:
    """Lines of its log."""
    return [LogLine(endpoint_id=endpoint.id, epoch_s=1.7e9, level="info0", text=text) for text in texts]


def everything(store: Store) -> object:
    """All rows."""
    return store.endpoints(), store.workergroups(), store.workers(), store.account_keys(), store.engine_id


def mode(path: Path) -> int:
    """Who may do what with a file or a folder."""
    return path.stat().st_mode & 0o777


def change(path: Path, *statements: str) -> None:
    """Change a file behind the store's back."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for statement in statements:
            connection.execute(statement)
