"""What is stored, as what is routed to and scaled: rows become endpoints and workergroups."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from pyworker.engine.core.endpoints import Arrivals, Earlier, Endpoint, Group
from pyworker.engine.core.parameters import Launch
from pyworker.engine.core.workers import Life
from pyworker.engine.store.rows import EndpointRow, GroupRow, Wanted
from pyworker.tickets import Scheme

__all__ = ["LIFE", "coarse", "endpoint_of", "group_of", "scheme_of", "take_launches"]

LIFE: Final[Mapping[Wanted, Life]] = {"active": Life.RUNNING, "cold": Life.STOPPED, "gone": Life.DESTROYING}


def endpoint_of(row: EndpointRow, now_s: float) -> Endpoint:
    """An endpoint as it is stored; nothing has come for it yet."""
    return Endpoint(
        id=row.id,
        name=row.name,
        parameters=row.parameters,
        arrivals=Arrivals(now_s),
        generation=row.key_generation,
        created_epoch_s=row.created_epoch_s,
        stopped=row.state == "stopped",
        auto_delete_in_s=row.auto_delete_in_seconds,
        deleted=row.deleted_epoch_s is not None,
    )


def group_of(row: GroupRow, endpoint: Endpoint) -> Group:
    """A workergroup as it is stored."""
    group = Group(row.id, endpoint, created_epoch_s=row.created_epoch_s, deleted=row.deleted_epoch_s is not None)
    take_launches(group, row)
    return group


def take_launches(group: Group, row: GroupRow) -> None:
    """A workergroup's parameters and launches, as they are stored."""
    group.parameters, group.version, group.extra = row.parameters, row.version, row.extra
    previous: tuple[int, Launch | None] | None = None
    if row.previous_version is not None:
        previous = row.previous_version, row.previous_launch
    group.before = Earlier(*previous) if previous else None


def scheme_of(number: int | None) -> Scheme:
    """A signature scheme by its number; the newest for tickets, where it means nothing."""
    return 3 if number == 3 else 1 if number == 1 else 4


def coarse(before: float, now: float) -> float:
    """A capacity that has hardly changed is not stored again."""
    return before if before > 0 and abs(now - before) < 0.1 * before else now
