"""What is stopped and destroyed. Pure.

An active worker is stopped only when the highest capacity that was wanted within the stable window is there without it;
a cold one is destroyed only when the same holds over the cold window. What is above a hard limit goes at once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from pyworker.engine.core.scaling.demand import Demand
from pyworker.engine.core.scaling.memory import Tempo
from pyworker.engine.core.scaling.plan import Plan
from pyworker.engine.core.scaling.view import Phase, WorkerView
from pyworker.engine.core.scaling.words import counted, per_s, seconds

__all__ = ["keep_limits", "rest_all", "shrink"]

_DISPENSABLE: Final = (Phase.FAILED, Phase.COLD, Phase.STOPPING, Phase.STARTING, Phase.ACTIVE)
_ENOUGH: Final = 1.0 - 1e-9  # of what is wanted: rounding


def keep_limits(plan: Plan) -> None:
    """Destroy what is above max_workers, of a group or of the endpoint; what serves goes last."""
    view = plan.fleet.view
    for group in plan.fleet.startable():
        most = group.view.max_workers
        if most is not None:
            _destroy_above(plan, group.workers, most, f"max_workers of {group.view.name} is {most}")
    most = view.parameters.max_workers
    _destroy_above(plan, view.workers, most, f"max_workers is {most}")


def _destroy_above(plan: Plan, workers: Sequence[WorkerView], most: int, reason: str) -> None:
    if len(workers) <= most:
        return
    staying = plan.free(worker for worker in workers if worker.phase is not Phase.LEAVING)
    ours = [worker for worker in staying if plan.fleet.group(worker) is not None]
    ours.sort(key=lambda worker: (_DISPENSABLE.index(worker.phase), worker.busy, worker.load, worker.since_s))
    for worker in ours[: max(len(staying) - most, 0)]:
        plan.destroy(worker, f"{reason}, and {len(staying)} are there")


def rest_all(plan: Plan) -> None:
    """The endpoint is paused: let everything be cold."""
    for worker in plan.free(plan.fleet.of(Phase.ACTIVE, Phase.STARTING, Phase.FAILED)):
        plan.stop(worker, "the endpoint is paused")


def shrink(plan: Plan, demand: Demand, begun_s: float, tempo: Tempo) -> None:
    """Stop and destroy what is not needed; nothing before a whole window was seen since ``begun_s``."""
    seen_s = plan.fleet.view.now_s - begun_s
    if seen_s >= tempo.stable_s:
        _stop_active(plan, demand, tempo)
    if seen_s >= tempo.cold_s:
        _destroy_cold(plan, demand, tempo)


def _stop_active(plan: Plan, demand: Demand, tempo: Tempo) -> None:
    now_s, fleet = plan.fleet.view.now_s, plan.fleet
    active = plan.free(fleet.by_phase[Phase.ACTIVE])
    ready_per_s, count = fleet.sum_per_s(active), len(active)
    settled = [
        worker for worker in active if fleet.group(worker) is not None and now_s - worker.since_s >= tempo.settled_s
    ]
    for worker in sorted(settled, key=_least_missed(plan)):
        left_per_s = ready_per_s - fleet.capacity_per_s(worker) if count > 1 else 0.0
        if count <= demand.keep_active or left_per_s < _ENOUGH * demand.keep_active_per_s:
            continue
        ready_per_s, count = left_per_s, count - 1
        plan.stop(
            worker,
            f"{demand.words}; at most {per_s(demand.keep_active_per_s)} in the last {seconds(tempo.stable_s)}, "
            f"and {per_s(ready_per_s)} of {counted(count, 'worker')} stay active: stop one",
        )


def _least_missed(plan: Plan) -> Callable[[WorkerView], tuple[bool, int, float, float, float, int]]:
    """In an update those of the old version first; then the least busy, the slowest, the youngest."""
    fleet = plan.fleet

    def order(worker: WorkerView) -> tuple[bool, int, float, float, float, int]:
        is_new = worker.version == fleet.groups[worker.group_id].target_version
        return (is_new, worker.busy, worker.load, fleet.capacity_per_s(worker), -worker.since_s, worker.id)

    return order


def _destroy_cold(plan: Plan, demand: Demand, tempo: Tempo) -> None:
    now_s, fleet = plan.fleet.view.now_s, plan.fleet
    phases = (Phase.ACTIVE, Phase.STARTING, Phase.STOPPING, Phase.COLD)
    staying = plan.free(worker for phase in phases for worker in fleet.by_phase[phase])
    total_per_s = fleet.sum_per_s(staying)
    loaded = sum(worker.was_ready or worker.phase is Phase.ACTIVE for worker in staying)
    cold = plan.free(worker for worker in fleet.of(Phase.COLD) if now_s - worker.since_s >= tempo.cold_s)
    for worker in sorted(cold, key=lambda worker: (worker.was_ready, worker.since_s, worker.id)):
        left_per_s, left = total_per_s - fleet.capacity_per_s(worker), loaded - int(worker.was_ready)
        if left_per_s < _ENOUGH * demand.keep_total_per_s or (worker.was_ready and left < demand.loaded_workers):
            continue
        total_per_s, loaded = left_per_s, left
        plan.destroy(
            worker,
            f"cold for {seconds(now_s - worker.since_s)}; at most {per_s(demand.keep_total_per_s)} was wanted in all "
            f"in the last {seconds(tempo.cold_s)}, and {per_s(left_per_s)} stay: destroy one",
        )
