"""What a provider does, in virtual time: machines are started, stopped, destroyed, and seen to have ended."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from random import Random

from pyworker.engine.core.derived import digest
from pyworker.engine.core.endpoints import Group
from pyworker.engine.core.registry import Registry
from pyworker.engine.core.scaling.view import Action, Create, Destroy, Start, Stop, Update
from pyworker.engine.core.workers import Life, Worker
from pyworker.simulate.machine import Behaviour, Machine, Power
from pyworker.simulate.timeline import Timeline
from pyworker.tickets import TicketKey

__all__ = ["Machines"]

_RUNS = {Life.CREATING, Life.STARTING, Life.RUNNING, Life.UPDATE_STARTING}
_ANEW = {Life.STARTING, Life.UPDATE_STARTING}
_KEY = TicketKey("simulated", bytes(32))


class Machines:
    """``behaviours`` by group; ``joined`` is told of each new machine."""

    def __init__(
        self,
        registry: Registry,
        behaviours: Mapping[int, Behaviour],
        random: Random,
        timeline: Timeline,
        joined: Callable[[Machine], None],
    ) -> None:
        self.by_number: dict[int, Machine] = {}
        self.gone: list[Machine] = []
        self.is_calm = False
        self._by_url: dict[str, Machine] = {}
        self._registry, self._behaviours = registry, behaviours
        self._random, self._timeline = random, timeline
        self._joined = joined
        self._count = self._tokens = 0
        self._busy: set[int] = set()
        self._engine = 0  # counts engines: what one before has begun is not gone on with

    def at(self, url: str) -> Machine | None:
        """Who is at this address."""
        return self._by_url.get(url)

    def calm(self) -> None:
        """No machine fails any more."""
        self.is_calm = True
        for machine in self.by_number.values():
            machine.crashes_allowed = False

    def carry_out(self, action: Action) -> None:
        """Begin what was decided; what is being done to a worker goes on before anything else is done to it."""
        if isinstance(action, Create):
            self._create(self._registry.group(action.group_id), action.version)
            return
        worker = self._registry.worker_by_number(action.worker_id)
        if worker is None or worker.number in self._busy:
            return
        match action:
            case Start():
                self._lead(worker, Life.STARTING)
                self._stop(worker, lambda: self._launch(worker))
            case Stop():
                self._lead(worker, Life.STOPPING)
                self._stop(worker, lambda: self._lead(worker, Life.STOPPED))
            case Update():
                self._lead(worker, Life.UPDATING)
                self._stop(worker, lambda: self._update(worker, action))
            case Destroy():
                self._lead(worker, Life.DESTROYING)
                self._stop(worker, lambda: self._remove(worker))

    def look(self) -> None:
        """What a provider sees: who has ended unasked, and what an engine before has left half done."""
        for machine in list(self.by_number.values()):
            worker = self._registry.worker_by_number(machine.number)
            if worker is not None and worker.number not in self._busy:
                self._see(worker, machine)

    def _see(self, worker: Worker, machine: Machine) -> None:
        if worker.life is Life.DESTROYING:
            self._stop(worker, lambda: self._remove(worker))
        elif machine.power is Power.BROKEN and worker.life in _RUNS:
            self._lead(worker, Life.FAILED, "ended with status 1")
        elif machine.power is Power.OFF and worker.life is not Life.STOPPED:
            self._lead(worker, Life.STOPPED)
        elif machine.listens and worker.life is Life.STOPPED:
            self._lead(worker, Life.STOPPING)
            self._stop(worker, lambda: self._lead(worker, Life.STOPPED))

    def adopt(self, registry: Registry) -> None:
        """Another engine has come, and knows them by this registry."""
        self._registry = registry
        self._busy.clear()
        self._engine += 1

    def _create(self, group: Group, version: int) -> None:
        self._count += 1
        mtoken = self._new_token()
        worker = Worker(self._count, group, ticket_key=_KEY, version=version, reported_id=self._count)
        self._registry.add_worker(worker, digest(mtoken))
        self._lead(worker, Life.CREATING)
        behaviour = self._behaviours[group.id]
        machine = Machine(worker.number, mtoken, version, behaviour, self._random, self._timeline)
        self.by_number[worker.number] = self._by_url[machine.url] = machine
        machine.crashes_allowed = not self.is_calm
        self._joined(machine)
        machine.start(mtoken)

    def _launch(self, worker: Worker) -> None:
        worker.begin_anew()
        mtoken = self._new_token()
        self._registry.give_token(worker, digest(mtoken))
        self.by_number[worker.number].start(mtoken)

    def _new_token(self) -> str:
        self._tokens += 1
        return f"simulated-{self._tokens}"

    def _update(self, worker: Worker, action: Update) -> None:
        worker.version, worker.failures, worker.was_ready = action.version, 0, False
        self.by_number[worker.number].version = action.version
        self._lead(worker, Life.UPDATE_STARTING if action.start else Life.STOPPED)
        if action.start:
            self._launch(worker)

    def _stop(self, worker: Worker, then: Callable[[], None]) -> None:
        self._busy.add(worker.number)
        engine = self._engine

        def stopped() -> None:
            if engine != self._engine:
                return
            self._busy.discard(worker.number)
            then()

        self.by_number[worker.number].stop(stopped)

    def _remove(self, worker: Worker) -> None:
        self._registry.remove_worker(worker)
        machine = self.by_number.pop(worker.number)
        del self._by_url[machine.url]
        self.gone.append(machine)

    def _lead(self, worker: Worker, life: Life, error: str = "") -> None:
        worker.lead(life, self._timeline.now_s, error)
        if life in _ANEW:
            self._registry.retire_token(worker)
