"""Workers that fail: when they are tried again, when replaced, when a whole group is given up. Pure.

A worker that failed is started again, after 5 s, 10 s; after its third failure in a row it is destroyed, and another
may be made after 20 s, and so on up to 300 s: one at a time, until one was healthy. After five in a row the group is
given up for 600 s, or until it has another version; others take over.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from pyworker.engine.core.scaling.fleet import Fleet, Group
from pyworker.engine.core.scaling.memory import Tempo
from pyworker.engine.core.scaling.plan import Plan
from pyworker.engine.core.scaling.view import Phase, WorkerView
from pyworker.engine.core.scaling.words import counted, seconds, shortened

__all__ = ["backoff_s", "blocked_s", "is_given_up", "notice_health", "replace_failed", "retry_in_s"]

REPLACED_AFTER: Final = 3
GIVEN_UP_AFTER: Final = 5
_NO_REASON: Final = "it gave no reason"


def backoff_s(failures: int, tempo: Tempo) -> float:
    """How long to wait after so many failures in a row."""
    doublings = min(max(failures - 1, 0), 30)
    return min(tempo.retry_first_s * 2.0**doublings, tempo.retry_longest_s)


def retry_in_s(worker: WorkerView, now_s: float, tempo: Tempo) -> float:
    """How long until a failed worker is due to be started again in its version; 0 or less: it is."""
    return worker.since_s + backoff_s(worker.failures, tempo) - now_s


def blocked_s(group: Group, now_s: float, tempo: Tempo) -> float:
    """How long until another worker may be made or started in a group in which some failed; 0 or less: now."""
    failed = group.memory.failed
    if not failed:
        return 0.0
    wait_s = tempo.given_up_s if failed >= GIVEN_UP_AFTER else backoff_s(REPLACED_AFTER - 1 + failed, tempo)
    return group.memory.failed_s + wait_s - now_s


def is_given_up(group: Group, now_s: float, tempo: Tempo) -> bool:
    """Whether nothing is started in it for now."""
    return group.memory.failed >= GIVEN_UP_AFTER and blocked_s(group, now_s, tempo) > 0


def notice_health(fleet: Fleet, tempo: Tempo) -> None:
    """Take in what is well: a group with another version begins anew, and so does one with a healthy worker."""
    now_s = fleet.view.now_s
    for group in fleet.startable():
        memory = group.memory
        if memory.version != group.view.version:
            memory = replace(memory, version=group.view.version, failed=0, failed_s=0.0, failure="", waits_s=None)
        since_s = (worker.since_s for worker in group.of(Phase.ACTIVE) if now_s - worker.since_s >= tempo.healthy_s)
        if memory.failed and max(since_s, default=memory.failed_s) > memory.failed_s:
            memory = replace(memory, failed=0, failed_s=0.0, failure="")
        group.memory = replace(memory, capacity_per_s=group.capacity_per_s) if group.is_measured else memory


def replace_failed(plan: Plan, tempo: Tempo) -> None:
    """Destroy what failed too often or takes for ever to start, so that another can be made in its place."""
    now_s = plan.fleet.view.now_s
    for worker in plan.free(plan.fleet.of(Phase.FAILED, Phase.STARTING)):
        group = plan.fleet.groups[worker.group_id]
        if group.is_behind(worker):
            continue  # it gets another chance
        late = worker.phase is Phase.STARTING and now_s - worker.since_s >= tempo.start_limit_s
        failed = worker.phase is Phase.FAILED
        text = shortened(worker.reason) or _NO_REASON
        if late:
            text = f"not ready after {seconds(tempo.start_limit_s)}"
            plan.destroy(worker, f"{text}: replace it")
            _count(group, text, now_s)
        elif failed and worker.failures >= REPLACED_AFTER:
            plan.destroy(worker, f"failed {counted(worker.failures, 'time')} in a row, last: {text}: replace it")
            _count(group, text, now_s)
        elif failed and is_given_up(group, now_s, tempo):
            plan.destroy(worker, f"its group was given up: {text}")


def _count(group: Group, text: str, now_s: float) -> None:
    group.memory = replace(group.memory, failed=group.memory.failed + 1, failed_s=now_s, failure=text)
