"""Instances of workers: what is done to them through their providers, one thing at a time, and what providers see.

A worker's life (``core/workers.py``) says at once what was begun; it is stored, so that an engine that comes after this
one goes on where it was.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections import Counter
from collections.abc import Coroutine, Mapping, Sequence, Set
from typing import Any, Final

from pyworker.engine.core.endpoints import Endpoint, Group
from pyworker.engine.core.parameters import Launch
from pyworker.engine.core.silence import SILENT_S
from pyworker.engine.core.workers import Life, Worker
from pyworker.engine.engine import Engine
from pyworker.engine.external import ExternalWorkers
from pyworker.engine.providers.base import Instance, InstanceSpec, InstanceState, Provider
from pyworker.engine.store.rows import Wanted
from pyworker.errors import ProviderError, PyWorkerError, StoreError
from pyworker.tickets import TicketKey

__all__ = ["Instances"]

log = logging.getLogger("pyworker.engine")

_RUNS: Final = {Life.CREATING, Life.STARTING, Life.UPDATE_STARTING, Life.RUNNING}
_ANEW: Final = {Life.STARTING, Life.UPDATE_STARTING}
_WANTED: Final[Mapping[Life, Wanted]] = {Life.STOPPING: "cold", Life.STOPPED: "cold", Life.DESTROYING: "gone"}


class Instances:
    """``providers`` by the name that workergroups give."""

    def __init__(self, engine: Engine, providers: Mapping[str, Provider]) -> None:
        self.external = ExternalWorkers(engine)
        self._engine = engine
        self._providers = providers
        self._tasks: dict[Worker, asyncio.Task[None]] = {}
        self._others: set[asyncio.Task[None]] = set()
        self._making: Counter[Endpoint] = Counter()

    # --- what is done ---

    def is_busy(self, worker: Worker) -> bool:
        """Whether something is being done to it, so that nothing else can be."""
        return worker in self._tasks

    def is_making(self, endpoint: Endpoint) -> bool:
        """Whether a worker of it is being stored, so that it is not seen yet."""
        return self._making[endpoint] > 0

    def create(self, group: Group, version: int) -> None:
        """Make a worker and start it."""
        self._making[group.endpoint] += 1
        self._aside(self._create(group, version))

    def start(self, worker: Worker) -> None:
        """Start one that is cold or failed."""
        self._lead(worker, Life.STARTING)
        self._begin(worker, self._start(worker, worker.version))

    def stop(self, worker: Worker) -> None:
        """Let it drain and be cold."""
        self._lead(worker, Life.STOPPING)
        self._begin(worker, self._stop(worker))

    def update(self, worker: Worker, version: int, *, start: bool) -> None:
        """Let it drain if it runs, and give it this version of its group's launch."""
        self._lead(worker, Life.UPDATING)
        self._begin(worker, self._update(worker, version, start=start))

    def destroy(self, worker: Worker) -> None:
        """Let it drain if it is well, then remove it."""
        is_well = worker.is_ready
        self._lead(worker, Life.DESTROYING)
        self._begin(worker, self._destroy(worker, drain=is_well))

    async def logs(self, worker: Worker, tail: int) -> dict[str, list[str]]:
        """The last lines of a worker's logs, by log. Raises ProviderError; ``ExternalWorkers.logs`` says what else."""
        if worker.is_external:
            return await self.external.logs(worker, tail)
        return await self._provider(worker).logs(worker.number, tail)

    async def close(self) -> None:
        """Cut off what is being done, then end all that runs. What was wanted stays wanted: the next engine does it."""
        await self.external.close()
        tasks = [*self._tasks.values(), *self._others]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for name, provider in self._providers.items():
            try:
                await provider.close()
            except PyWorkerError as error:
                log.error("a provider did not end well", extra={"provider": name, "reason": str(error)})

    async def _create(self, group: Group, version: int) -> None:
        try:
            worker, mtoken = await self._engine.records.add_worker(group, life=Life.CREATING, version=version)
        except StoreError as error:
            self._engine.journal.note(group.endpoint, f"no worker can be made: {error}", group=group)
            return
        finally:
            self._making[group.endpoint] -= 1
        self._engine.changed_state(worker, "nothing")
        self._begin(worker, self._launch(worker, mtoken, version))

    async def _launch(self, worker: Worker, mtoken: str, version: int) -> None:
        await self._provider(worker).create(self._spec(worker, mtoken, version))

    async def _start(self, worker: Worker, version: int) -> None:
        await self._provider(worker).stop(worker.number)  # a failed one may still be there, and say nothing
        worker.begin_anew()
        mtoken = await self._engine.records.renew_token(worker)
        launch = _launch_of(worker.group, version)
        if launch is None:  # of a version that is forgotten: with what it was made of
            await self._provider(worker).start(worker.number, {"MASTER_TOKEN": mtoken})
            return
        await self._launch(worker, mtoken, version)

    async def _stop(self, worker: Worker) -> None:
        await self._provider(worker).stop(worker.number)
        self._lead(worker, Life.STOPPED)

    async def _update(self, worker: Worker, version: int, *, start: bool) -> None:
        await self._provider(worker).stop(worker.number)
        worker.version, worker.failures, worker.was_ready = version, 0, False
        if not start:
            self._lead(worker, Life.STOPPED)
            return
        self._lead(worker, Life.UPDATE_STARTING)
        await self._start(worker, version)

    async def _destroy(self, worker: Worker, *, drain: bool) -> None:
        if drain:
            await self._provider(worker).stop(worker.number)
        await self._provider(worker).destroy(worker.number)
        await self._engine.records.remove_worker(worker)
        self._engine.journal.note(worker.endpoint, f"worker {worker.id} is destroyed", group=worker.group)
        self._engine.feed.publish(
            "worker", {"endpoint": worker.endpoint.name, "worker_id": worker.id, "after": "destroyed"}
        )

    # --- what providers see ---

    async def take_in(self) -> None:
        """See what there is, and bring it together with what is known."""
        for name, provider in self._providers.items():
            known, busy = self._known(name), set(self._tasks)
            try:
                seen = await provider.list()
            except ProviderError as error:
                log.error("a provider cannot say what runs", extra={"provider": name, "reason": str(error)})
                continue
            self._compare(provider, known, busy, seen)

    def _known(self, provider: str) -> dict[int, Worker]:
        return {
            worker.number: worker
            for worker in self._engine.registry.all_workers
            if not worker.is_external and worker.group.parameters.provider == provider
        }

    def _compare(
        self, provider: Provider, known: Mapping[int, Worker], busy: Set[Worker], seen: Sequence[Instance]
    ) -> None:
        """Of the ``known`` those that nothing was being done to, not when it was looked and not now."""
        there = {instance.id: instance for instance in seen}
        for number, worker in known.items():
            is_removed = self._engine.registry.worker_by_number(number) is not worker
            if is_removed or worker in busy or worker in self._tasks:
                continue
            if worker.since_s < time.monotonic() - 1.0:
                self._see(worker, there.get(number))
        strangers = there.keys() - self._known_numbers() - known.keys()
        for number in strangers:  # of a worker that is forgotten
            log.warning("an instance belongs to no worker: it is destroyed", extra={"instance_id": number})
            self._aside(provider.destroy(number))

    def _known_numbers(self) -> set[int]:
        return {worker.number for worker in self._engine.registry.all_workers}

    def _see(self, worker: Worker, instance: Instance | None) -> None:
        """What a worker's provider sees of it, while nothing is being done to it."""
        state = instance.state if instance else InstanceState.LOST
        reason = instance.reason if instance else "its instance is not there any more"
        runs = state in {InstanceState.RUNNING, InstanceState.STARTING}
        if worker.life is Life.DESTROYING or worker.group.deleted:
            self.destroy(worker)
        elif state is InstanceState.LOST and worker.life is Life.FAILED:
            return  # it could not be made: scaling decides whether that is tried again
        elif state is InstanceState.LOST:
            self._engine.journal.note(worker.endpoint, f"worker {worker.id} is lost: {reason}", group=worker.group)
            self.destroy(worker)
        elif state is InstanceState.FAILED and worker.life in _RUNS:
            self._lead(worker, Life.FAILED, reason)
        elif state is InstanceState.STOPPED and worker.life is not Life.STOPPED:
            self._lead(worker, Life.STOPPED)
        elif runs and instance:
            self._see_running(worker, instance)

    def _see_running(self, worker: Worker, instance: Instance) -> None:
        if worker.life in {Life.STOPPED, Life.STOPPING}:
            self.stop(worker)
        elif worker.life is Life.FAILED:
            self._lead(worker, Life.RUNNING)
        elif worker.life is Life.RUNNING and self._reports_elsewhere(worker, instance):
            text = f"worker {worker.id} is started anew: it reports to {instance.reports_to}, where this engine is not"
            self._engine.journal.note(worker.endpoint, text, group=worker.group)
            self.start(worker)

    def _reports_elsewhere(self, worker: Worker, instance: Instance) -> bool:
        """Whether an engine before this one, at another address, started it, and nothing of it arrives here."""
        if not instance.reports_to or instance.reports_to == self._engine.url or worker.heard_s > -math.inf:
            return False
        return time.monotonic() - worker.since_s >= SILENT_S

    # --- how ---

    def _provider(self, worker: Worker) -> Provider:
        name = worker.group.parameters.provider
        if name not in self._providers:
            there = ", ".join(self._providers) or "none"
            raise ProviderError(f"this engine has no provider {name!r} (it has {there}): start it with --provider")
        return self._providers[name]

    def _spec(self, worker: Worker, mtoken: str, version: int) -> InstanceSpec:
        launch = _launch_of(worker.group, version)
        if launch is None:
            raise ProviderError(f"the workergroup {worker.group.parameters.name!r} does not say how to start a worker")
        environment = {
            "REPORT_ADDR": self._engine.url,
            "MASTER_TOKEN": mtoken,
            "CONTAINER_ID": str(worker.number),
            **_ticket_variables(worker.ticket_key),
        }
        name = f"{worker.endpoint.name}/{worker.group.parameters.name}"
        return InstanceSpec(worker.number, name, launch, environment, worker.group.parameters.drain_s)

    def _begin(self, worker: Worker, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(self._carry_out(worker, work))
        self._tasks[worker] = task
        task.add_done_callback(lambda _: self._tasks.pop(worker, None))

    async def _carry_out(self, worker: Worker, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except PyWorkerError as error:
            self._lead(worker, Life.FAILED, str(error))
        except Exception as error:
            log.exception("what was done to a worker failed", extra={"worker_id": worker.id})
            self._lead(worker, Life.FAILED, f"{type(error).__name__}: {error}")

    def _aside(self, work: Coroutine[Any, Any, None]) -> None:
        """Something that is done to no worker that is known."""
        task = asyncio.create_task(self._without_error(work))
        self._others.add(task)
        task.add_done_callback(self._others.discard)

    async def _without_error(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except PyWorkerError as error:
            log.error("an instance could not be dealt with: %s", error)

    def _lead(self, worker: Worker, life: Life, error: str = "") -> None:
        before = worker.state
        worker.lead(life, time.monotonic(), error)
        if life in _ANEW:
            self._engine.registry.retire_token(worker)
        self._engine.records.note(worker, _WANTED.get(life, "active"))
        if worker.state != before:
            self._engine.changed_state(worker, before)


def _launch_of(group: Group, version: int) -> Launch | None:
    if version == group.version:
        return group.parameters.launch
    return group.before.launch if group.before is not None and version == group.before.version else None


def _ticket_variables(key: TicketKey | None) -> dict[str, str]:
    return {} if key is None else {"PYWORKER_TICKET_KEY": key.text, "PYWORKER_TICKET_KEY_ID": key.id}
