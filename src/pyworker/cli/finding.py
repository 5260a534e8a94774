"""Which endpoint, workergroup or worker a name or number on the command line means.

Each raises NotFound, saying what there is.
"""

# ruff: noqa: PLC0415
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyworker.client.management import Management
    from pyworker.errors import NotFound
    from pyworker.wire import EndpointInfo, WorkerInfo
    from pyworker.wire_management import GroupInfo

__all__ = [
    "PlacedWorker",
    "all_workers",
    "endpoint_called",
    "full_name",
    "group_called",
    "numbered",
    "own_name",
    "shown_id",
    "worker_called",
]


@dataclass(frozen=True)
class PlacedWorker:
    """A worker, and the names of what it belongs to; that of its workergroup may not be known."""

    worker: WorkerInfo
    endpoint: str
    group: str


def endpoint_called(endpoints: Sequence[EndpointInfo], text: str) -> EndpointInfo:
    """By its name, else by its id."""
    for endpoint in endpoints:
        if endpoint.endpoint_name == text:
            return endpoint
    for endpoint in endpoints:
        if str(endpoint.id) == text:
            return endpoint
    make = "make one with `pyworker endpoint create`"
    raise _missing("endpoint", text, [endpoint.endpoint_name for endpoint in endpoints], make)


def group_called(groups: Sequence[GroupInfo], text: str) -> GroupInfo:
    """By its name, by endpoint and name (``hello/default``), else by its id."""
    found = [group for group in groups if text in {own_name(group), full_name(group)}]
    found = found or [group for group in groups if str(group.id) == text]
    if not found:
        make = "make one with `pyworker group create`"
        raise _missing("workergroup", text, [full_name(group) for group in groups], make)
    if len(found) > 1:
        raise _not_found(f"several workergroups are called {text!r}: say {' or '.join(map(full_name, found))}")
    return found[0]


def worker_called(workers: Sequence[PlacedWorker], text: str) -> PlacedWorker:
    """By its id; where several have it, by ``n`` and the engine's number."""
    found = [placed for placed in workers if text in {str(placed.worker.id), numbered(placed)}]
    if not found:
        known = [shown_id(placed, workers) for placed in workers]
        raise _missing("worker", int(text) if text.isdecimal() else text, known, "see `pyworker endpoint logs`")
    if len(found) > 1:
        them = " or ".join(f"{numbered(placed)} ({placed.worker.url or placed.worker.status})" for placed in found)
        raise _not_found(f"several workers have the id {text}: say {them}")
    return found[0]


def numbered(placed: PlacedWorker) -> str:
    """What names it and no other: ids are what workers report."""
    return f"n{placed.worker.number}"


def shown_id(placed: PlacedWorker, workers: Sequence[PlacedWorker]) -> str:
    """Its id, with its number where others have the same id."""
    same = [other for other in workers if other.worker.id == placed.worker.id]
    return f"{placed.worker.id} ({numbered(placed)})" if len(same) > 1 else str(placed.worker.id)


def all_workers(engine: Management, endpoint: str | None) -> list[PlacedWorker]:
    """The workers of one endpoint, or of all, by id."""
    endpoints = engine.endpoints()
    chosen = [endpoint_called(endpoints, endpoint)] if endpoint else endpoints
    groups = {group.id: own_name(group) for group in engine.groups()}
    workers = [
        PlacedWorker(worker, one.endpoint_name, groups.get(worker.workergroup_id, ""))
        for one in chosen
        for worker in engine.workers(one.id)
    ]
    return sorted(workers, key=lambda placed: placed.worker.id)


def own_name(group: GroupInfo) -> str:
    """Its name within its endpoint."""
    return group.name or group.template_hash


def full_name(group: GroupInfo) -> str:
    """A name that no other workergroup has."""
    return f"{group.endpoint_name}/{own_name(group)}"


def _missing(what: str, asked: object, there_are: Sequence[str], otherwise: str) -> NotFound:
    known = f"there is {', '.join(there_are)}" if there_are else f"there is none; {otherwise}"
    return _not_found(f"there is no {what} {asked!r}: {known}")


def _not_found(words: str) -> NotFound:
    from pyworker.errors import NotFound

    return NotFound(words)
