"""What an engine that is killed and started again knows: what its store kept, as a registry."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from pyworker.engine.core.derived import digest
from pyworker.engine.core.endpoints import Arrivals, Endpoint, Group
from pyworker.engine.core.registry import Registry
from pyworker.engine.core.workers import Life, Worker

__all__ = ["rebuilt"]

BLOCK: Final = 1_000_000  # numbers that were set aside, and are skipped
_KEPT: Final = {Life.STOPPING: Life.STOPPED, Life.STOPPED: Life.STOPPED, Life.DESTROYING: Life.DESTROYING}


def rebuilt(before: Registry, mtokens: Mapping[int, str], now_s: float) -> Registry:
    """A registry with what outlives an engine; ``mtokens`` are those of the workers' newest starts, by number."""
    after = Registry()
    endpoints = {
        old: after.add_endpoint(Endpoint(old.id, old.name, old.parameters, Arrivals(now_s)))
        for old in before.all_endpoints
    }
    groups = {
        old: after.take_group(
            Group(old.id, endpoints[old.endpoint], old.parameters, version=old.version, before=old.before)
        )
        for old in before.all_groups
    }
    for old in before.all_workers:
        after.add_worker(_kept(old, groups[old.group], now_s), digest(mtokens[old.number]))
    return after


def _kept(old: Worker, group: Group, now_s: float) -> Worker:
    return Worker(
        old.number,
        group,
        ticket_key=old.ticket_key,
        reported_id=old.reported_id,
        url=old.url,
        version=old.version,
        life=_KEPT.get(old.life, Life.RUNNING),
        since_s=now_s,
        was_ready=old.was_ready,
        reqnum=old.reqnum + BLOCK,
        capacity_per_s=old.capacity_per_s,
    )
