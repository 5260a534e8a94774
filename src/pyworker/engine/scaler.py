"""Decides once a second for each endpoint how many workers there shall be, and has it done."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from typing import Final

from pyworker.engine.core.endpoints import Endpoint, Group
from pyworker.engine.core.scaling.decision import Decision, decide
from pyworker.engine.core.scaling.memory import Memory, Tempo
from pyworker.engine.core.scaling.snapshot import Windows, view_of
from pyworker.engine.core.scaling.view import Action, Create, Destroy, Start, Stop, Update
from pyworker.engine.core.scaling.words import without_numbers
from pyworker.engine.engine import Engine
from pyworker.engine.instances import Instances
from pyworker.errors import StoreError

__all__ = ["Scaler"]

log = logging.getLogger("pyworker.engine")

DECIDE_EVERY_S: Final = 1.0
SAY_AGAIN_S: Final = 60.0
AT_LEAST_S: Final = 0.2  # between two decisions that requests ask for


class Scaler:
    """``decisions`` are the last ones, with what they were made from in words."""

    def __init__(self, engine: Engine, instances: Instances, tempo: Tempo | None = None) -> None:
        self.decisions: dict[Endpoint, Decision] = {}
        self._engine = engine
        self._instances = instances
        self._tempo = tempo or Tempo()
        self._said: dict[Endpoint, tuple[str, float]] = {}
        self._waits: dict[Group, str] = {}  # what was said of updates that wait
        self._wake = asyncio.Event()
        self._stepped_s = float("-inf")

    def nudge(self) -> None:
        """Decide now, not at the end of this second: somebody waits, or something was changed."""
        self._wake.set()

    def hurry(self) -> None:
        """A request waits where no worker is ready: decide soon, but not for each of them."""
        if time.monotonic() - self._stepped_s >= AT_LEAST_S:
            self._wake.set()

    async def keep_scaling(self) -> None:
        """Until cancelled."""
        while True:
            self._wake.clear()
            try:
                await self.step()
            except Exception:
                log.exception("a decision failed; the next one is made all the same")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(DECIDE_EVERY_S):
                    await self._wake.wait()

    async def step(self) -> None:
        """See what there is, decide for each endpoint, and begin what was decided."""
        self._stepped_s = time.monotonic()
        await self._instances.take_in()
        for endpoint in self._engine.registry.endpoints:
            await self._decide(endpoint)
        self._instances.external.step()
        for endpoint in self.decisions.keys() - set(self._engine.registry.endpoints):
            del self.decisions[endpoint]
            self._said.pop(endpoint, None)

    async def _decide(self, endpoint: Endpoint) -> None:
        if self._instances.is_making(endpoint):  # what is being stored is not seen yet, and would be made again
            return
        before = self.decisions.get(endpoint)
        windows = Windows(self._tempo.stable_s, self._tempo.burst_s)
        view = view_of(endpoint, self._engine.registry, self._engine.dispatcher, time.monotonic(), windows)
        decision = decide(view, before.memory if before else Memory(), self._tempo)
        self.decisions[endpoint] = decision
        self._say(endpoint, decision)
        for action in decision.actions:
            self._act(endpoint, action)
        for group in self._engine.registry.groups(endpoint):
            group.condition = decision.groups.get(group.id, "")
            self._say_wait(group, decision.waits.get(group.id, ""))
            if group.before is not None:
                await self._finish_update(group, decision)

    def _say(self, endpoint: Endpoint, decision: Decision) -> None:
        """A decision to do something is told; any other once a minute, or when more than its numbers has changed."""
        said, said_s = self._said.get(endpoint, ("", float("-inf")))
        words, now_s = without_numbers(decision.why), time.monotonic()
        if decision.actions or words != said or now_s - said_s >= SAY_AGAIN_S:
            self._said[endpoint] = words, now_s
            level = "info1" if decision.actions else "debug"
            self._engine.journal.note(endpoint, decision.why, level=level)
            told = {"endpoint": endpoint.name, "why": decision.why, "actions": len(decision.actions)}
            self._engine.feed.publish("decision", told)

    def _say_wait(self, group: Group, waits: str) -> None:
        """An update that cannot go on says so once, with what it waits for."""
        words = without_numbers(waits)
        if waits and words != self._waits.get(group):
            self._waits[group] = words
            text = f"update of {group.parameters.name} {waits}"
            self._engine.journal.note(group.endpoint, text, group=group, level="info1")
        elif group.before is None:
            self._waits.pop(group, None)

    def _act(self, endpoint: Endpoint, action: Action) -> None:
        if isinstance(action, Create):
            group = self._engine.registry.group(action.group_id)
            self._tell(endpoint, group, action, "a worker")
            self._instances.create(group, action.version)
            return
        worker = self._engine.registry.worker_by_number(action.worker_id)
        if worker is None or worker.is_external or self._instances.is_busy(worker):
            return
        self._tell(endpoint, worker.group, action, f"worker {worker.id}")
        match action:
            case Start():
                self._instances.start(worker)
            case Stop():
                self._instances.stop(worker)
            case Destroy():
                self._instances.destroy(worker)
            case Update():
                self._instances.update(worker, action.version, start=action.start)

    def _tell(self, endpoint: Endpoint, group: Group, action: Action, whom: str) -> None:
        verb = type(action).__name__.lower()
        self._engine.meters.acted(endpoint.name, verb)
        self._engine.journal.note(endpoint, f"{verb} {whom}: {action.reason}", group=group)

    async def _finish_update(self, group: Group, decision: Decision) -> None:
        records, name = self._engine.records, group.parameters.name
        try:
            if group.id in decision.rolled_back:
                text = f"update of {name} to version {group.version} is rolled back: {decision.rolled_back[group.id]}"
                await records.go_back(group)
            elif group.id in decision.updated:
                text = f"update of {name} to version {group.version} is complete"
                await records.settle(group)
            else:
                return
        except StoreError as error:
            log.error("an update cannot be finished: %s", error)
            return
        self._engine.journal.note(group.endpoint, text, group=group)
