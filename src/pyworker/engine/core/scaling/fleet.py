"""The workers of one endpoint by group and phase, and what each can do. Pure."""

from __future__ import annotations

import math
import statistics
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from pyworker.engine.core.scaling.memory import GroupMemory, Memory
from pyworker.engine.core.scaling.view import GroupView, Phase, View, WorkerView

__all__ = ["Fleet", "Group"]

_BELIEVED: Final = 10.0  # times its group's median: a worker that claims more lies, or its unit is another
_ENOUGH: Final = 3  # capacities, for a median that one liar cannot move


@dataclass(slots=True, eq=False)
class Group:
    """One workergroup. ``memory`` is replaced while a decision is made."""

    view: GroupView
    memory: GroupMemory
    workers: list[WorkerView] = field(default_factory=list[WorkerView])
    capacity_per_s: float = 0.0  # of one worker: measured, or as other groups'; 0: nothing is known
    is_measured: bool = False
    believed_per_s: float = 0.0

    def of(self, *phases: Phase) -> list[WorkerView]:
        """Its workers in these phases."""
        return [worker for worker in self.workers if worker.phase in phases]

    @property
    def target_version(self) -> int:
        """Which version all its workers are to have."""
        view = self.view
        rolled_back = self.memory.bad_version == view.version and view.previous_version is not None
        return view.previous_version if rolled_back and view.previous_version is not None else view.version

    @property
    def is_proven(self) -> bool:
        """Whether the target version is known to become ready."""
        return self.memory.proven_version == self.target_version

    @property
    def is_trying(self) -> bool:
        """Whether its newest version is being tried out."""
        return not self.is_proven and self.view.previous_version is not None

    def is_behind(self, worker: WorkerView) -> bool:
        """Whether a worker is to have another version, which is known to become ready."""
        return self.is_proven and worker.version != self.target_version

    @property
    def safe_version(self) -> int:
        """Which version a worker is made of when it is needed, and not to try something out."""
        previous = self.view.previous_version
        return previous if self.is_trying and previous is not None else self.target_version

    def measure(self) -> None:
        """Note the mean of what was measured, or what it was before."""
        measured = [worker.capacity_per_s for worker in self.workers if worker.capacity_per_s > 0]
        self.believed_per_s = _BELIEVED * statistics.median(measured) if len(measured) >= _ENOUGH else math.inf
        mean = sum(min(capacity, self.believed_per_s) for capacity in measured) / max(len(measured), 1)
        self.is_measured = bool(measured) or self.memory.capacity_per_s > 0
        self.capacity_per_s = mean or self.memory.capacity_per_s


class Fleet:
    """All workers of a view. Those of groups that are not in it count in the limits, and are left alone."""

    def __init__(self, view: View, memory: Memory) -> None:
        remembered = {group.id: group for group in memory.groups}
        self.view = view
        self.groups: Mapping[int, Group] = {
            group.id: Group(group, remembered.get(group.id, GroupMemory(group.id))) for group in view.groups
        }
        self._startable = {number: group for number, group in self.groups.items() if group.view.can_start}
        self._capacities_per_s: dict[int, float] = {}
        self.by_phase: Mapping[Phase, list[WorkerView]] = {phase: [] for phase in Phase}
        for worker in view.workers:
            self.by_phase[worker.phase].append(worker)
            if worker.group_id in self.groups:
                self.groups[worker.group_id].workers.append(worker)
        self._measure()

    def _measure(self) -> None:
        for group in self.groups.values():
            group.measure()
        known = [group.capacity_per_s for group in self.groups.values() if group.is_measured]
        others_per_s = sum(known) / len(known) if known else 0.0
        for group in self.groups.values():
            if not group.is_measured:
                group.capacity_per_s = others_per_s
            for worker in group.workers:
                own_per_s = min(worker.capacity_per_s, group.believed_per_s)
                self._capacities_per_s[worker.id] = own_per_s or group.capacity_per_s

    def group(self, worker: WorkerView) -> Group | None:
        """The group of a worker that may be started and stopped; None where it comes and goes by itself."""
        return self._startable.get(worker.group_id)

    def of(self, *phases: Phase) -> list[WorkerView]:
        """Workers in these phases that may be started and stopped."""
        return [worker for phase in phases for worker in self.by_phase[phase] if worker.group_id in self._startable]

    def capacity_per_s(self, worker: WorkerView) -> float:
        """Of one worker: its own measure, or its group's. 0 while nothing is known."""
        return self._capacities_per_s.get(worker.id, worker.capacity_per_s)

    @property
    def best_per_s(self) -> float:
        """What one worker of the best group can do; 0 while nothing is known."""
        return max((group.capacity_per_s for group in self.groups.values()), default=0.0)

    def sum_per_s(self, workers: Iterable[WorkerView]) -> float:
        """Of several together."""
        known = self._capacities_per_s
        return sum([known.get(worker.id, worker.capacity_per_s) for worker in workers])

    def startable(self) -> Collection[Group]:
        """Groups whose workers are started here."""
        return self._startable.values()
