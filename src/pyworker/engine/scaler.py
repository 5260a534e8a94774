"""Carries out what scaling decides: view, decision, provider, once a second for each endpoint.

A worker has one thing done to it at a time. What providers see is taken in before each decision, so that a worker that
ended by itself, or was there before this engine, is seen as it is.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

from pyworker.engine.core.endpoints import Endpoint, Group
from pyworker.engine.core.memory import Memory, Tempo
from pyworker.engine.core.parameters import Launch
from pyworker.engine.core.scaling import Decision, decide
from pyworker.engine.core.view import Action, Create, Destroy, Start, Stop, Update
from pyworker.engine.core.views import view_of
from pyworker.engine.core.workers import Life, Worker
from pyworker.engine.engine import Engine
from pyworker.engine.places import Places
from pyworker.engine.providers.base import Instance, InstanceState, Provider
from pyworker.errors import NotFound, PyWorkerError

__all__ = ["Scaler"]

log = logging.getLogger("pyworker.engine")

DECIDE_EVERY_S: Final = 1.0
_STARTS = {Life.CREATING, Life.STARTING, Life.UPDATE_STARTING, Life.RUNNING}
_RESTS = {Life.STOPPED, Life.STOPPING, Life.UPDATING}


class Scaler:
    """``providers`` by the name that groups give; each ends with the engine."""

    def __init__(self, engine: Engine, providers: Mapping[str, Provider], tempo: Tempo | None = None) -> None:
        self.engine = engine
        self.providers = providers
        self.tempo = tempo or Tempo()
        self.decisions: dict[Endpoint, Decision] = {}
        self._places = Places(engine)
        self._busy: dict[Worker | None, asyncio.Task[None]] = {}
        self._creating: dict[Group, int] = {}
        self._said: dict[Endpoint, str] = {}
        self._wake = asyncio.Event()

    def nudge(self) -> None:
        """Decide now, not at the end of this second: somebody waits."""
        self._wake.set()

    async def keep_scaling(self) -> None:
        """Until cancelled; what was begun is cut off then, and known again at the next start."""
        try:
            while True:
                await self.step()
                self._wake.clear()
                try:
                    async with asyncio.timeout(DECIDE_EVERY_S):
                        await self._wake.wait()
                except TimeoutError:
                    continue
        finally:
            tasks = list(self._busy.values())
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def step(self) -> None:
        """See what there is, decide for each endpoint, and begin what was decided."""
        for name, provider in self.providers.items():
            try:
                self._take_in(name, provider, await provider.list())
            except PyWorkerError as error:
                log.error("a provider cannot say what runs", extra={"provider": name, "reason": str(error)})
        for endpoint in self.engine.registry.all_endpoints:
            self._decide(endpoint)

    # --- what providers see ---

    def _take_in(self, name: str, provider: Provider, instances: Sequence[Instance]) -> None:
        there = {instance.id: instance for instance in instances}
        known = {
            worker.number: worker
            for worker in self.engine.registry.all_workers
            if not worker.is_external and worker.group.parameters.provider == name
        }
        for number, worker in known.items():
            if worker not in self._busy:
                self._see(worker, there.get(number))
        for number in there.keys() - known.keys():  # of a worker that was never stored, or is forgotten
            if None not in self._busy and not self._creating:
                self._begin(None, provider.destroy(number))

    def _see(self, worker: Worker, instance: Instance | None) -> None:
        """What its provider sees of a worker to which nothing is being done."""
        now_s = time.monotonic()
        state = instance.state if instance else InstanceState.LOST
        reason = instance.reason if instance else "its instance is not there any more"
        if worker.life is Life.DESTROYING:
            self._begin(worker, self._destroy(worker, "it was to be destroyed"))
        elif state is InstanceState.LOST:
            self._lead(worker, Life.DESTROYING, reason)
            self._begin(worker, self._destroy(worker, reason))
        elif state is InstanceState.FAILED and worker.life in _STARTS:
            self._lead(worker, Life.FAILED, reason)
        elif state is InstanceState.STOPPED and worker.life in _STARTS:
            self._lead(worker, Life.STOPPED, "")
        elif state in {InstanceState.RUNNING, InstanceState.STARTING} and worker.life in _RESTS:
            self._begin(worker, self._stop(worker))
        elif state is InstanceState.RUNNING and worker.life is Life.FAILED:
            worker.lead(Life.RUNNING, now_s)

    # --- what scaling decides ---

    def _decide(self, endpoint: Endpoint) -> None:
        if endpoint.deleted:
            for worker in self.engine.registry.members(endpoint):
                self._act(endpoint, Destroy(worker.number, "its endpoint was deleted"))
            return
        before = self.decisions.get(endpoint)
        view = view_of(endpoint, self.engine.registry, self.engine.dispatcher, time.monotonic())
        decision = decide(view, before.memory if before else Memory(), self.tempo)
        self.decisions[endpoint] = decision
        self._say(endpoint, decision)
        for action in decision.actions:
            self._act(endpoint, action)
        for group in self.engine.registry.groups(endpoint):
            group.trouble = decision.groups.get(group.id, "")
            self._finish_update(group, decision)

    def _say(self, endpoint: Endpoint, decision: Decision) -> None:
        """Every decision that does something goes to the log, others when they are not those of the second before."""
        if decision.actions:
            self.engine.journal.note(endpoint, decision.why, level="info1")
        elif decision.why != self._said.get(endpoint):
            self.engine.journal.note(endpoint, decision.why, level="debug")
        self._said[endpoint] = decision.why

    def _finish_update(self, group: Group, decision: Decision) -> None:
        if group.before is None or None in self._busy:
            return
        records, journal = self.engine.records, self.engine.journal
        if group.id in decision.rolled_back:
            reason = decision.rolled_back[group.id]
            text = f"update of {group.parameters.name} rolled back to version {group.before.version}: {reason}"
            journal.note(group.endpoint, text, group=group)
            self._begin(None, records.go_back(group))
        elif group.id in decision.updated:
            text = f"update of {group.parameters.name} to version {group.version} is complete"
            journal.note(group.endpoint, text, group=group)
            self._begin(None, records.settle(group))

    def _act(self, endpoint: Endpoint, action: Action) -> None:
        """Begin an action; the worker's life says at once that it has begun."""
        registry = self.engine.registry
        if isinstance(action, Create):
            self._create(registry.group(action.group_id), action)
            return
        worker = registry.worker_by_number(action.worker_id)
        if worker is None or worker in self._busy or worker.is_external:
            return
        self.engine.journal.note(endpoint, f"{_verb(action)} worker {worker.id}: {action.reason}", group=worker.group)
        self.engine.meters.acted(endpoint.name, type(action).__name__.lower())
        match action:
            case Start():
                self._lead(worker, Life.STARTING)
                self._begin(worker, self._start(worker))
            case Stop():
                self._lead(worker, Life.STOPPING)
                self._begin(worker, self._stop(worker))
            case Destroy():
                self._lead(worker, Life.DESTROYING)
                self._begin(worker, self._destroy(worker, action.reason))
            case Update():
                self._lead(worker, Life.UPDATING)
                self._begin(worker, self._update(worker, action))

    def _lead(self, worker: Worker, life: Life, error: str = "") -> None:
        before = worker.state
        worker.lead(life, time.monotonic(), error)
        wanted = {Life.STOPPING: "cold", Life.STOPPED: "cold", Life.DESTROYING: "gone"}.get(life, "active")
        self.engine.records.note(worker, wanted)  # pyright: ignore[reportArgumentType]
        if worker.state != before:
            self.engine.changed_state(worker, before)
