"""Workers on machines of one's own: told to drain, asked for their logs, updated one after the other, let go."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Coroutine, Sequence
from typing import Any, Final

from pyworker.engine.core.endpoints import BURST_WINDOW_S, STABLE_WINDOW_S, Endpoint, Group
from pyworker.engine.core.external_updates import next_step
from pyworker.engine.core.scaling.memory import Tempo
from pyworker.engine.core.workers import Life, Worker
from pyworker.engine.engine import Engine
from pyworker.engine.store.rows import Level
from pyworker.engine.worker_calls import WorkerCalls
from pyworker.errors import BadRequest, PyWorkerError, StoreError

__all__ = ["ExternalWorkers"]

log = logging.getLogger("pyworker.engine")

SOON_S: Final = 3.0  # who drains reports within that time


class ExternalWorkers:
    """Nobody here starts them; each is called at the url that its mtoken is bound to."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._calls = WorkerCalls(engine.authority.root_pem, engine.config.trusted_networks)
        self._last: dict[Group, Worker] = {}  # that was told in the update that is under way
        self._waits: dict[Group, float] = {}  # since when the load needs every worker
        self._tasks: dict[Worker | Group, asyncio.Task[None]] = {}  # one thing at a time for each

    # --- asked for by people ---

    async def drain(self, worker: Worker) -> None:
        """Have it finish what it has and end; its machine starts it anew.

        Raises BadRequest for one that cannot be told, NotFound when its secret was dropped, WorkerNotReached.
        """
        if not worker.ours or worker.gone:
            raise BadRequest(
                f"worker {worker.id} cannot be told to drain, since it is {'gone' if worker.gone else 'not of ours'}: "
                "stop it on its own machine"
            )
        await self._calls.drain(worker.url, self._engine.records.mtoken_of(worker))
        before = worker.state
        worker.told_to_drain(time.monotonic())
        if worker.state != before:
            self._engine.changed_state(worker, before)

    async def logs(self, worker: Worker, tail: int) -> dict[str, list[str]]:
        """The last lines of its model's log. Raises NotFound, BadRequest, WorkerNotReached like ``drain``."""
        lines = await self._calls.log_lines(worker.url, self._engine.records.mtoken_of(worker))
        return {"model.log": lines[-tail:]}

    async def dismiss(self, workers: Sequence[Worker]) -> None:
        """Forget them: those that answer once they have drained, the others now. Nobody is sent there any more.

        What cannot be stored is tried again.
        """
        await asyncio.gather(*(self._dismiss(worker) for worker in workers))

    async def _dismiss(self, worker: Worker) -> None:
        try:
            await self.drain(worker)
        except PyWorkerError as error:
            log.info("a worker is forgotten at once", extra={"worker_id": worker.id, "reason": str(error)})
        before = worker.state
        worker.lead(Life.DESTROYING, time.monotonic())
        self._engine.records.note(worker, "gone")
        self._engine.changed_state(worker, before)
        if worker.told_s is None and worker not in self._tasks:
            await asyncio.wait([self._begin(worker, self._forget(worker))])

    # --- as time passes ---

    def step(self) -> None:
        """Forget those that have drained, and go on with updates. Waits for nobody."""
        registry, now_s = self._engine.registry, time.monotonic()
        for worker in registry.all_workers:
            if worker.is_external and worker not in self._tasks and _is_done(worker, now_s):
                self._begin(worker, self._forget(worker))
        updating = [
            group for group in registry.groups() if group.parameters.launch is None and group.before is not None
        ]
        self._last = {group: worker for group, worker in self._last.items() if group in updating}
        self._waits = {group: since_s for group, since_s in self._waits.items() if group in updating}
        for group in updating:
            if group not in self._tasks:
                self._update(group)

    async def close(self) -> None:
        """Cut off what is being done: the next engine does it."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _begin(self, what: Worker | Group, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(self._carry_out(work))
        self._tasks[what] = task
        task.add_done_callback(lambda _: self._tasks.pop(what, None))
        return task

    async def _carry_out(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except StoreError as error:
            log.error("what became of a worker cannot be stored: %s", error)

    async def _forget(self, worker: Worker) -> None:
        await self._engine.records.remove_worker(worker)
        self._engine.journal.note(worker.endpoint, f"worker {worker.id} is forgotten", group=worker.group)

    # --- updates ---

    def _update(self, group: Group) -> None:
        registry, now_s = self._engine.registry, time.monotonic()
        members, ready = registry.members(group), registry.ready(group.endpoint)
        load_per_s = _load_per_s(group.endpoint, now_s)
        left_s = self._waits.get(group, now_s) + Tempo().patience_s - now_s
        step = next_step(members, ready, self._last.get(group), load_per_s, now_s, left_s=left_s)
        group.condition = step.why
        if step.waits and group not in self._waits:
            self._waits[group] = now_s
            self._say(group, f"update of {group.parameters.name} waits: {step.why}", "info1")
        elif step.worker is not None and not step.waits:
            self._waits.pop(group, None)
        if step.is_done:
            self._begin(group, self._settle(group, step.why))
        elif step.worker is not None:
            self._begin(group, self._tell(group, step.worker, step.why))

    async def _settle(self, group: Group, why: str) -> None:
        await self._engine.records.settle(group)
        self._say(group, f"update of {group.parameters.name} to version {group.version} is complete: {why}")

    async def _tell(self, group: Group, worker: Worker, why: str) -> None:
        try:
            await self.drain(worker)
        except PyWorkerError as error:
            group.condition = f"worker {worker.id} cannot be updated: {error}"
            return
        self._last[group] = worker
        self._say(group, f"update worker {worker.id} to version {group.version}: {why}")

    def _say(self, group: Group, text: str, level: Level = "info0") -> None:
        self._engine.journal.note(group.endpoint, text, group=group, level=level)


def _is_done(worker: Worker, now_s: float) -> bool:
    """Whether it was let go, and has drained."""
    if worker.life is not Life.DESTROYING:
        return False
    if worker.told_s is None:  # an engine before this one told it
        return True
    for_s = now_s - worker.told_s
    drains = worker.reported == "STOPPING" and not worker.gone
    return for_s >= SOON_S and (not drains or for_s >= worker.group.parameters.drain_s)


def _load_per_s(endpoint: Endpoint, now_s: float) -> float:
    claimed_per_s = max(endpoint.arrivals.per_s(window_s, now_s) for window_s in (STABLE_WINDOW_S, BURST_WINDOW_S))
    return claimed_per_s * endpoint.counted_per_claimed
