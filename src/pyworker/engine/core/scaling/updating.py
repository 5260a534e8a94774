"""Rolling update: every worker to its group's version, without a request lost. Pure.

One worker goes first, the *canary*: a cold one if there is one. Once it is ready and stays so, the version is proven:
cold workers are updated as they lie, active ones drain a few at a time, and only while those that are ready without
them can do what the load needs. Where it needs each for ``Tempo.patience_s``, and there is no room for another, they go
all the same, one at a time, and requests are held meanwhile: an update ends. When the canary fails twice or never
becomes ready, everything goes back to the version before.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Final

from pyworker.engine.core.scaling.crashes import blocked_s, retry_in_s
from pyworker.engine.core.scaling.demand import Demand
from pyworker.engine.core.scaling.fleet import Fleet, Group
from pyworker.engine.core.scaling.memory import Tempo
from pyworker.engine.core.scaling.plan import Plan
from pyworker.engine.core.scaling.view import Phase, WorkerView
from pyworker.engine.core.scaling.words import per_s, seconds, shortened

__all__ = ["judge", "outdated", "update"]

BAD_AFTER: Final = 2  # failures in a row
_AT_ONCE: Final = 4  # one in so many of those that run
_KEPT: Final = (Phase.COLD, Phase.FAILED, Phase.STARTING, Phase.ACTIVE)


def outdated(group: Group) -> list[WorkerView]:
    """Those of its workers that do not have the target version."""
    target = group.target_version
    return [w for w in group.workers if w.version != target and w.phase is not Phase.LEAVING]


def judge(fleet: Fleet, tempo: Tempo) -> None:
    """Take in whether a group's newest version becomes ready: it is proven, or rolled back."""
    now_s = fleet.view.now_s
    for group in fleet.startable():
        memory, version = group.memory, group.target_version
        if group.is_proven:
            continue
        new = [worker for worker in group.workers if worker.version == version]
        active = [worker for worker in new if worker.phase is Phase.ACTIVE]
        if any(now_s - worker.since_s >= tempo.canary_s for worker in active):
            group.memory = replace(memory, proven_version=version)
        elif not active and version == group.view.version and group.view.previous_version is not None:
            reason = next((text for worker in new if (text := _why_bad(worker, now_s, tempo))), "")
            if reason:
                _roll_back(group, reason)


def _why_bad(worker: WorkerView, now_s: float, tempo: Tempo) -> str:
    """Why a worker tells against its version; empty when it does not."""
    if worker.phase is Phase.FAILED and worker.failures >= BAD_AFTER:
        return f"worker {worker.id} failed {worker.failures} times: {shortened(worker.reason) or 'no reason given'}"
    if worker.phase is Phase.STARTING and now_s - worker.since_s >= tempo.start_limit_s:
        return f"worker {worker.id} was not ready after {seconds(tempo.start_limit_s)}"
    return ""


def _roll_back(group: Group, reason: str) -> None:
    previous = group.view.previous_version or 0
    group.memory = replace(group.memory, bad_version=group.view.version, bad_reason=reason, proven_version=previous)


def update(plan: Plan, demand: Demand, tempo: Tempo) -> None:
    """Take the next steps of every group in which workers are outdated."""
    for group in plan.fleet.startable():
        old = plan.free(worker for worker in outdated(group) if worker.phase in _KEPT)
        if old and group.is_proven:
            _roll(plan, group, old, demand, tempo)
        elif not group.is_proven and outdated(group):
            _try_out(plan, group, old, demand, tempo)
        if not outdated(group):
            group.memory = replace(group.memory, waits_s=None)


# --- the first one ---


def _try_out(plan: Plan, group: Group, old: Sequence[WorkerView], demand: Demand, tempo: Tempo) -> None:
    """See that a canary is on its way."""
    new = [worker for worker in group.workers if worker.version == group.target_version]
    if any(worker.phase in {Phase.ACTIVE, Phase.STARTING} for worker in new):
        return
    words = f"version {group.target_version} is tried with one worker first"
    for worker in plan.free(new):
        failed = worker.phase is Phase.FAILED
        if worker.phase is Phase.COLD or (failed and retry_in_s(worker, plan.fleet.view.now_s, tempo) <= 0):
            plan.start(worker, words)
        if worker.phase in {Phase.COLD, Phase.FAILED}:
            return
    _send_canary(plan, group, old, demand, tempo, words)


def _send_canary(plan: Plan, group: Group, old: Sequence[WorkerView], demand: Demand, tempo: Tempo, words: str) -> None:
    by_phase = {phase: _least_busy(worker for worker in old if worker.phase is phase) for phase in _KEPT}
    if by_phase[Phase.COLD]:
        plan.update(by_phase[Phase.COLD][0], start=True, reason=f"{words}: a cold one")
    elif plan.has_room(group):
        plan.create(group, group.target_version, f"{words}: a new one")
    elif by_phase[Phase.FAILED]:
        plan.update(by_phase[Phase.FAILED][0], start=True, reason=f"{words}: one that failed")
    elif by_phase[Phase.ACTIVE]:
        _drain(plan, group, by_phase[Phase.ACTIVE], demand, tempo, most=1, words=words)


# --- the others ---


def _roll(plan: Plan, group: Group, old: Sequence[WorkerView], demand: Demand, tempo: Tempo) -> None:
    words = f"to version {group.target_version}"
    if group.memory.bad_version == group.view.version:
        words = f"back {words} ({group.memory.bad_reason})"
    running = group.of(Phase.ACTIVE, Phase.STARTING)
    on_the_way = sum(
        worker.version == group.target_version and not _is_settled(worker, plan, tempo) for worker in running
    )
    most = max(1, len(running) // _AT_ONCE) - on_the_way
    active: list[WorkerView] = []
    for worker in old:
        if worker.phase is Phase.ACTIVE:
            active.append(worker)
        elif worker.phase is Phase.STARTING and most > 0:
            plan.update(worker, start=True, reason=f"{words}: it serves nobody yet")
            most -= 1
        elif worker.phase in {Phase.COLD, Phase.FAILED}:
            plan.update(worker, start=False, reason=f"{words}: it does not run")
    if active and most > 0:
        _drain(plan, group, _least_busy(active), demand, tempo, most=most, words=words)


def _is_settled(worker: WorkerView, plan: Plan, tempo: Tempo) -> bool:
    """Whether it is ready, and not only for a moment."""
    return worker.phase is Phase.ACTIVE and plan.fleet.view.now_s - worker.since_s >= tempo.canary_s


def _drain(
    plan: Plan,
    group: Group,
    active: Sequence[WorkerView],
    demand: Demand,
    tempo: Tempo,
    *,
    most: int,
    words: str,
) -> None:
    """Update active workers that the load does not need; when it needs each, see that one is ready in its place."""
    fleet = plan.fleet
    ready = [worker for worker in plan.free(fleet.by_phase[Phase.ACTIVE]) if _is_settled(worker, plan, tempo)]
    ready_per_s, count = fleet.sum_per_s(ready), len(ready)
    done = 0
    for worker in active[:most]:
        own_per_s, own = (fleet.capacity_per_s(worker), 1) if _is_settled(worker, plan, tempo) else (0.0, 0)
        left_per_s = ready_per_s - own_per_s
        if left_per_s < demand.served_per_s or count - own < demand.keep_active:
            break
        ready_per_s, count, done = left_per_s, count - own, done + 1
        plan.update(
            worker, start=True, reason=f"{words}: {per_s(left_per_s)} stay, {per_s(demand.served_per_s)} needed"
        )
    if done:
        group.memory = replace(group.memory, waits_s=None)
    else:
        _stand_in(plan, group, active[0], tempo, words)


def _stand_in(plan: Plan, group: Group, worker: WorkerView, tempo: Tempo, words: str) -> None:
    """The load needs every active worker: start or make another first, if there is one or room for one."""
    wait_s = blocked_s(group, plan.fleet.view.now_s, tempo)
    if wait_s > 0:
        plan.wait(group, f"{words}: waits {seconds(wait_s)}, workers of this group have failed")
        return
    cold = plan.free(group.of(Phase.COLD))
    version = group.safe_version
    if cold and group.is_proven:
        plan.start(max(cold, key=lambda each: each.since_s), f"{words}: in place of worker {worker.id}")
    elif plan.has_room(group):
        plan.create(group, version, f"{words}: in place of worker {worker.id}")
    elif len(plan.fleet.view.workers) == 1:
        text = "there is one worker and no room for another: requests are held until it is ready again"
        plan.update(worker, start=True, reason=f"{words}: {text}")
    else:
        _be_patient(plan, group, worker, tempo, words)


def _be_patient(plan: Plan, group: Group, worker: WorkerView, tempo: Tempo, words: str) -> None:
    """Wait for the load to need one worker less, but not for ever."""
    now_s = plan.fleet.view.now_s
    since_s = now_s if group.memory.waits_s is None else group.memory.waits_s
    group.memory = replace(group.memory, waits_s=since_s)
    left_s = since_s + tempo.patience_s - now_s
    if left_s <= 0 and not _brings_one_up(plan, tempo):
        text = f"the load has needed every active worker for {seconds(now_s - since_s)}: one at a time all the same"
        plan.update(worker, start=True, reason=f"{words}: {text}")
        return
    until = f"for {seconds(left_s)} more" if left_s > 0 else "until the one before is ready"
    text = f"the load needs every active worker and there is no room for another ({plan.why_full(group)})"
    plan.wait(group, f"{words}: waits {until}, {text}")


def _brings_one_up(plan: Plan, tempo: Tempo) -> bool:
    """Whether some worker of the endpoint is on its way, or ready only for a moment."""
    groups = plan.fleet.startable()
    new = (worker for group in groups for worker in group.of(Phase.ACTIVE) if worker.version == group.target_version)
    return (
        plan.brings_one_up
        or bool(plan.fleet.of(Phase.STARTING))
        or any(not _is_settled(worker, plan, tempo) for worker in new)
    )


def _least_busy(workers: Iterable[WorkerView]) -> list[WorkerView]:
    return sorted(workers, key=lambda worker: (worker.busy, worker.load, -worker.since_s, worker.id))
