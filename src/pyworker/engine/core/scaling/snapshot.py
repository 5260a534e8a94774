"""The snapshot of an endpoint that a scaling decision is made from. Pure."""

from __future__ import annotations

from typing import NamedTuple

from pyworker.engine.core.dispatch import Dispatcher
from pyworker.engine.core.endpoints import BURST_WINDOW_S, STABLE_WINDOW_S, Endpoint, Group
from pyworker.engine.core.registry import Registry
from pyworker.engine.core.scaling.view import GroupView, Phase, View, WorkerView
from pyworker.engine.core.silence import LOST_S
from pyworker.engine.core.workers import Life, Worker

__all__ = ["Windows", "phase_of", "view_of"]

_PHASES = {
    Life.CREATING: Phase.STARTING,
    Life.STARTING: Phase.STARTING,
    Life.UPDATING: Phase.STARTING,
    Life.UPDATE_STARTING: Phase.STARTING,
    Life.STOPPING: Phase.STOPPING,
    Life.STOPPED: Phase.COLD,
    Life.FAILED: Phase.FAILED,
    Life.DESTROYING: Phase.LEAVING,
}
_REPORTED = {"IDLE": Phase.ACTIVE, "ERROR": Phase.FAILED, "STOPPING": Phase.STOPPING}


class Windows(NamedTuple):
    """How far back arrivals are averaged, in s: at most STABLE_WINDOW_S."""

    stable_s: float = STABLE_WINDOW_S
    burst_s: float = BURST_WINDOW_S


def view_of(
    endpoint: Endpoint, registry: Registry, dispatcher: Dispatcher, now_s: float, windows: Windows | None = None
) -> View:
    """The endpoint as it is now."""
    windows = windows or Windows()
    held_requests, held = dispatcher.waiting(endpoint)
    ratio = endpoint.counted_per_claimed
    return View(
        now_s=now_s,
        parameters=endpoint.parameters,
        groups=[_group(group) for group in registry.groups(endpoint)],
        workers=[_worker(worker, now_s) for worker in registry.workers(endpoint)],
        stable_load_per_s=endpoint.arrivals.per_s(windows.stable_s, now_s) * ratio,
        stable_requests=endpoint.arrivals.requests(windows.stable_s, now_s),
        burst_load_per_s=endpoint.arrivals.per_s(windows.burst_s, now_s) * ratio,
        held=held,
        held_requests=held_requests,
        idle_s=now_s - endpoint.arrivals.last_s,
        watched=endpoint.arrivals.counted_for(windows.stable_s, now_s),
        paused=endpoint.stopped,
    )


def phase_of(worker: Worker, now_s: float) -> Phase:
    """Where a worker is in its life."""
    if worker.life is not Life.RUNNING:
        return _PHASES[worker.life]
    if _is_mute(worker, now_s):
        return Phase.FAILED
    return _REPORTED.get(worker.reported, Phase.STARTING)


def _group(group: Group) -> GroupView:
    parameters = group.parameters
    return GroupView(
        id=group.id,
        name=parameters.name,
        can_start=parameters.launch is not None,
        max_workers=parameters.max_workers,
        test_workers=parameters.test_workers,
        version=group.version,
        previous_version=group.before.version if group.before else None,
    )


def _is_mute(worker: Worker, now_s: float) -> bool:
    """Whether its processes may be there, but it says nothing: it hangs, or reports to an address of an engine before.

    One that was never ready may say nothing until its model is loaded.
    """
    if not worker.gone or not worker.was_ready or worker.is_external:
        return False
    return now_s - max(worker.heard_s, worker.since_s) >= LOST_S


def _worker(worker: Worker, now_s: float) -> WorkerView:
    return WorkerView(
        id=worker.number,
        group_id=worker.group.id,
        phase=phase_of(worker, now_s),
        since_s=worker.since_s,
        capacity_per_s=worker.capacity_per_s,
        load=worker.load,
        busy=worker.working,
        was_ready=worker.was_ready,
        failures=worker.failures,
        version=worker.version,
        reason=worker.error or ("it says nothing any more" if worker.gone else ""),
    )
