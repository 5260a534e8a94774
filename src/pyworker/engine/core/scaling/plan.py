"""What a decision has come to so far: actions within the limits, at most one for each worker. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Final

from pyworker.engine.core.scaling.fleet import Fleet, Group
from pyworker.engine.core.scaling.view import (
    Action,
    Create,
    Destroy,
    Phase,
    Start,
    Stop,
    Update,
    WorkerView,
)

__all__ = ["Plan"]

AS_GOOD: Final = 0.95  # of the best group's capacity: these take turns


class Plan:
    """Actions are added by the steps of a decision, one after the other; ``notes`` say what could not be done.

    A worker that is being destroyed counts in the limits until it is gone: its machine is still paid for.
    """

    def __init__(self, fleet: Fleet, turn: int) -> None:
        self.fleet = fleet
        self.turn = turn
        self.actions: list[Action] = []
        self.notes: list[str] = []
        self.waits: dict[int, str] = {}  # by group: what its update waits for
        self._taken: set[int] = set()
        self._existing = len(fleet.view.workers)
        self._existing_in = Counter(worker.group_id for worker in fleet.view.workers)
        self._running_in = Counter(
            worker.group_id for phase in (Phase.ACTIVE, Phase.STARTING) for worker in fleet.by_phase[phase]
        )
        self._starting_in = Counter(worker.group_id for worker in fleet.by_phase[Phase.STARTING])

    # --- what is left ---

    def free(self, workers: Iterable[WorkerView]) -> list[WorkerView]:
        """Those for which nothing was decided yet."""
        return [worker for worker in workers if worker.id not in self._taken]

    def has_room(self, group: Group) -> bool:
        """Whether another worker may be made in it."""
        most = group.view.max_workers
        within = self._existing < self.fleet.view.parameters.max_workers
        return within and (most is None or self._existing_in[group.view.id] < most)

    def why_full(self, group: Group) -> str:
        """Which limit leaves no room."""
        most = group.view.max_workers
        if most is not None and self._existing_in[group.view.id] >= most:
            return f"max_workers of {group.view.name} is {most}"
        return f"max_workers is {self.fleet.view.parameters.max_workers}"

    @property
    def brings_one_up(self) -> bool:
        """Whether some worker is to be started by this decision."""
        return any(
            isinstance(action, Create | Start) or (isinstance(action, Update) and action.start)
            for action in self.actions
        )

    def is_testing(self, group: Group) -> bool:
        """Whether as many run as it takes to learn what one of its workers can do, and none is measured yet."""
        return not group.is_measured and self._running_in[group.view.id] >= group.view.test_workers

    def starting(self, group: Group) -> int:
        """How many of its workers start."""
        return self._starting_in[group.view.id]

    # --- actions ---

    def create(self, group: Group, version: int, reason: str) -> None:
        """Make a worker; there must be room."""
        self.actions.append(Create(group.view.id, version, reason))
        self._existing += 1
        self._existing_in[group.view.id] += 1
        self._runs(group)

    def start(self, worker: WorkerView, reason: str) -> None:
        """Start a worker that does not run, in the version it should have."""
        group = self.fleet.groups[worker.group_id]
        if group.is_behind(worker):
            self.update(worker, start=True, reason=reason)
            return
        self._take(worker, Start(worker.id, reason))
        self._runs(group)

    def stop(self, worker: WorkerView, reason: str) -> None:
        """Let a worker become cold."""
        self._take(worker, Stop(worker.id, reason))

    def destroy(self, worker: WorkerView, reason: str) -> None:
        """Remove a worker."""
        self._take(worker, Destroy(worker.id, reason))

    def update(self, worker: WorkerView, *, start: bool, reason: str) -> None:
        """Bring a worker to its group's target version."""
        group = self.fleet.groups[worker.group_id]
        self._take(worker, Update(worker.id, group.target_version, start, reason))
        if start and worker.phase not in {Phase.ACTIVE, Phase.STARTING}:
            self._runs(group)

    def wait(self, group: Group, words: str) -> None:
        """A group's update cannot go on for now."""
        self.waits[group.view.id] = words
        self.notes.append(words)

    def _take(self, worker: WorkerView, action: Action) -> None:
        self._taken.add(worker.id)
        self.actions.append(action)

    def _runs(self, group: Group) -> None:
        self._running_in[group.view.id] += 1
        self._starting_in[group.view.id] += 1
