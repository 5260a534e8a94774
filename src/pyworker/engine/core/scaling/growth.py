"""What is started and made: cold workers first, then failed ones whose time has come, then new ones. Pure.

What starts already counts as capacity to come, so nothing is started twice. While nothing is known of what a group's
workers can do, its ``test_workers`` are made and nothing more.
"""

from __future__ import annotations

from dataclasses import dataclass

from pyworker.engine.core.scaling.crashes import blocked_s, is_given_up, retry_in_s
from pyworker.engine.core.scaling.demand import Demand
from pyworker.engine.core.scaling.fleet import Group
from pyworker.engine.core.scaling.memory import Tempo
from pyworker.engine.core.scaling.plan import AS_GOOD, Plan
from pyworker.engine.core.scaling.view import Phase, WorkerView
from pyworker.engine.core.scaling.words import counted, per_s, seconds, shortened

__all__ = ["grow"]

_NONE_LEFT = 1e-9  # of what is wanted: rounding


@dataclass(slots=True)
class _Missing:
    """What is wanted and not there yet, as capacity and as a count of workers."""

    wanted_per_s: float
    per_s: float
    workers: int

    def __bool__(self) -> bool:
        return self.workers > 0 or self.per_s > _NONE_LEFT * self.wanted_per_s

    def fill(self, capacity_per_s: float) -> None:
        self.per_s -= capacity_per_s
        self.workers -= 1


class _Growth:
    def __init__(self, plan: Plan, demand: Demand, tempo: Tempo) -> None:
        self.plan, self.demand, self.tempo = plan, demand, tempo
        self.fleet = plan.fleet
        self.now_s = plan.fleet.view.now_s
        self.failed = plan.free(plan.fleet.of(Phase.FAILED))

    # --- what is missing ---

    def active(self) -> _Missing:
        phases = self.fleet.by_phase
        workers = self.plan.free([*phases[Phase.ACTIVE], *phases[Phase.STARTING]])
        wanted_per_s = self.demand.active_per_s
        return _Missing(
            wanted_per_s, wanted_per_s - self.fleet.sum_per_s(workers), self.demand.least_active - len(workers)
        )

    def total(self) -> _Missing:
        phases = (Phase.ACTIVE, Phase.STARTING, Phase.STOPPING, Phase.COLD)
        workers = self.plan.free([worker for phase in phases for worker in self.fleet.by_phase[phase]])
        loaded = sum(worker.was_ready or worker.phase in {Phase.ACTIVE, Phase.STARTING} for worker in workers)
        wanted_per_s = self.demand.total_per_s
        return _Missing(wanted_per_s, wanted_per_s - self.fleet.sum_per_s(workers), self.demand.loaded_workers - loaded)

    def why_active(self) -> str:
        active = self.fleet.by_phase[Phase.ACTIVE]
        coming = self.fleet.by_phase[Phase.STARTING]
        ready = f"active {per_s(self.fleet.sum_per_s(active))} of {counted(len(active), 'worker')}"
        return f"{self.demand.words}, {ready}" + (f", {len(coming)} on the way" if coming else "")

    # --- steps ---

    def start_cold(self, missing: _Missing, cold: list[WorkerView], reason: str) -> None:
        for worker in cold:
            if not missing:
                return
            group = self.fleet.groups[worker.group_id]
            is_well = worker.was_ready and not worker.failures
            if not self.plan.is_testing(group) and (is_well or self.may_start(group)):
                self.plan.start(worker, f"{reason}: start a cold one")
                missing.fill(self.fleet.capacity_per_s(worker))

    def retry(self, *missing: _Missing) -> None:
        """Start failed workers again when they are due, and count those that will be; let the others be cold."""
        for worker in self.failed:
            group = self.fleet.groups[worker.group_id]
            text = f"failed ({shortened(worker.reason) or 'no reason given'})"
            if not any(missing):
                if not group.is_trying and not group.is_behind(worker):
                    self.plan.stop(worker, f"{text} and is not needed: keep it cold")
                continue
            if group.is_behind(worker) or retry_in_s(worker, self.now_s, self.tempo) <= 0:
                self.plan.start(worker, f"{text}, {counted(worker.failures, 'time')} in a row: start it again")
            for each in missing:
                each.fill(self.fleet.capacity_per_s(worker))

    def create(self, missing: _Missing, reason: str, *others: _Missing) -> None:
        while missing:
            group = self.best_group()
            if group is None:
                return
            self.plan.create(group, group.safe_version, f"{reason}: make one in {group.view.name}")
            for each in (missing, *others):
                each.fill(group.capacity_per_s)

    def why_not_more(self) -> str:
        """What stands in the way of what is missing."""
        groups = self.fleet.startable()
        if len(self.fleet.view.workers) >= self.fleet.view.parameters.max_workers:
            return f"max_workers {self.fleet.view.parameters.max_workers} are there"
        if any(self.plan.is_testing(group) for group in groups):
            return "one worker is to be measured first"
        waits_s = [blocked_s(group, self.now_s, self.tempo) for group in groups]
        if groups and min(waits_s) > 0:
            return f"after failures the next one is made in {seconds(min(waits_s))}"
        return "no workergroup can have more" if groups else "no workergroup can be started"

    # --- where ---

    def may_start(self, group: Group) -> bool:
        """Whether its failures allow it: in a group that has trouble, one at a time."""
        if group.memory.failed == 0:
            return True
        return blocked_s(group, self.now_s, self.tempo) <= 0 and self.plan.starting(group) == 0

    def cold(self) -> list[WorkerView]:
        """Cold workers in the order in which they are started."""
        workers = [
            worker
            for worker in self.plan.free(self.fleet.of(Phase.COLD))
            if not is_given_up(self.fleet.groups[worker.group_id], self.now_s, self.tempo)
        ]

        def order(worker: WorkerView) -> tuple[bool, int, float, float, int]:
            group = self.fleet.groups[worker.group_id]
            return (not worker.was_ready, worker.failures, -group.capacity_per_s, -worker.since_s, worker.id)

        return sorted(workers, key=order)

    def best_group(self) -> Group | None:
        """Where a worker is made: what is not measured yet first, then the quickest; equals take turns."""
        possible = [
            group
            for group in self.fleet.startable()
            if self.plan.has_room(group) and self.may_start(group) and not self.plan.is_testing(group)
        ]
        if not possible:
            return None
        unknown = [group for group in possible if not group.is_measured]
        best_per_s = max(group.capacity_per_s for group in possible)
        good = unknown or [group for group in possible if group.capacity_per_s >= AS_GOOD * best_per_s]
        self.plan.turn += 1
        return good[self.plan.turn % len(good)]


def grow(plan: Plan, demand: Demand, tempo: Tempo) -> None:
    """Start and make what is wanted and not there, as far as the limits allow."""
    growth = _Growth(plan, demand, tempo)
    active, total = growth.active(), growth.total()
    why_active = growth.why_active()
    why_total = (
        f"{per_s(demand.total_per_s)} and {counted(demand.loaded_workers, 'loaded worker')} are wanted in all, "
        f"active and cold; {per_s(total.wanted_per_s - total.per_s)} are there"
    )
    cold = growth.cold()
    growth.start_cold(active, cold, why_active)
    growth.retry(active, total)
    growth.create(active, why_active, total)
    unloaded = _Missing(0.0, 0.0, total.workers)  # as capacity they are counted
    growth.start_cold(unloaded, [worker for worker in plan.free(cold) if not worker.was_ready], why_total)
    total.workers = unloaded.workers
    growth.create(total, why_total)
    if active or total:
        plan.notes.append(growth.why_not_more())
