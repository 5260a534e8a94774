"""What somebody who looks at an engine wants to see each second: load, queue, times, and each worker with its why.

Pure; ``now_s`` is the engine's monotonic clock.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

from pyworker.engine.core.dispatch import Dispatcher
from pyworker.engine.core.endpoints import BURST_WINDOW_S, STABLE_WINDOW_S, Endpoint, Group
from pyworker.engine.core.registry import Registry
from pyworker.engine.core.scaling.decision import Decision
from pyworker.engine.core.scaling.words import counted
from pyworker.engine.core.workers import Life, Worker
from pyworker.wire_dashboard import EndpointFigures, GroupFigures, WorkerFigures

__all__ = ["endpoint_figures", "why_not_ready"]

_LIFE: Final[Mapping[Life, str]] = {
    Life.CREATING: "its provider makes it",
    Life.STARTING: "its processes are being started",
    Life.STOPPING: "it was told to stop, and finishes what it has",
    Life.STOPPED: "cold: stopped, and quick to start again",
    Life.UPDATING: "it finishes what it has, to be started with another version",
    Life.UPDATE_STARTING: "its processes are being started with another version",
    Life.FAILED: "it ended by itself, or could not be started",
    Life.DESTROYING: "it is being removed",
}
_REPORTED: Final = {
    "LOADING": "its model server starts and loads the model",
    "MODEL_LOADING": "the model is loaded; the worker gets ready",
    "STOPPING": "it takes nothing new, and finishes what it has",
    "ERROR": "it reports an error without saying which",
}


def endpoint_figures(
    endpoint: Endpoint, registry: Registry, dispatcher: Dispatcher, decision: Decision | None, now_s: float
) -> EndpointFigures:
    """One endpoint as it is now."""
    workers = registry.workers(endpoint)
    waiting_requests, waiting = dispatcher.waiting(endpoint)
    return EndpointFigures(
        id=endpoint.id,
        stable_per_s=endpoint.arrivals.per_s(STABLE_WINDOW_S, now_s) * endpoint.counted_per_claimed,
        burst_per_s=endpoint.arrivals.per_s(BURST_WINDOW_S, now_s) * endpoint.counted_per_claimed,
        capacity_per_s=sum(worker.capacity_per_s for worker in workers if worker.is_ready),
        active_target_per_s=decision.active_target_per_s if decision else 0.0,
        total_target_per_s=decision.total_target_per_s if decision else 0.0,
        in_flight=sum(worker.load for worker in workers),
        waiting=waiting,
        waiting_requests=waiting_requests,
        decision=decision.why if decision else "",
        times=endpoint.times.figures(now_s),
        groups=[_group_figures(group) for group in registry.groups(endpoint)],
        workers=[_worker_figures(worker, now_s) for worker in workers],
    )


def why_not_ready(worker: Worker) -> str:
    """Why a worker takes no requests, in words; empty when it does."""
    if worker.is_ready:
        return ""
    if worker.error:
        return worker.error
    again = f", after {counted(worker.failures, 'failure')} in a row" if worker.failures else ""
    return _way_of_life(worker) + again


def _way_of_life(worker: Worker) -> str:
    if worker.life is not Life.RUNNING and worker.life in _LIFE:
        return _LIFE[worker.life]
    if worker.gone:
        return "nothing is heard of it any more" if worker.was_ready else "it was started, and has not reported yet"
    if worker.benchmarks:
        return "the model is loaded; its benchmark measures what it can do"
    return _REPORTED.get(worker.reported, "it reports no address to send requests to")


def _group_figures(group: Group) -> GroupFigures:
    return GroupFigures(
        id=group.id,
        condition=group.condition,
        version=group.version,
        updating_from=group.before.version if group.before else None,
    )


def _worker_figures(worker: Worker, now_s: float) -> WorkerFigures:
    since_s = worker.heard_s if worker.gone and worker.heard_s > -math.inf else worker.since_s
    return WorkerFigures(
        id=worker.id,
        workergroup_id=worker.group.id,
        status=worker.state,
        why=why_not_ready(worker),
        since_s=max(0.0, now_s - since_s),
        load=worker.load,
        capacity_per_s=worker.capacity_per_s,
        served_per_s=worker.served_per_s,
        working=worker.working,
        version=worker.version,
    )
