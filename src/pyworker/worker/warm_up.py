"""From a model that loads to a worker that is ready, and back when the model fails: I/O for ``core.readiness``.

One coroutine for each state; a change of state ends the one that runs and begins the next.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager

from pyworker.api import LogAction
from pyworker.errors import BenchmarkFailed
from pyworker.worker.author_faults import AUTHOR_ERRORS
from pyworker.worker.benchmark import Benchmark
from pyworker.worker.books import Books
from pyworker.worker.core.readiness import ErrorSource, Event, Readiness, State
from pyworker.worker.model.health import Health
from pyworker.worker.model.log_tail import LogTail

__all__ = ["Lifecycle", "WarmUp"]

Lifecycle = AbstractAsyncContextManager[object]

log = logging.getLogger("pyworker.readiness")

LOOK_AGAIN_S = 0.25
HEALTH_INTERVAL_S = 5.0
CHECK_AGAIN_S = 1.0
FAILED_CHECKS_TO_ERROR = 3
GOOD_CHECKS_TO_RECOVER = 3
FIRST_PAUSE_S = 2.0
LONGEST_PAUSE_S = 60.0
REMIND_S = 60.0
_ENTRY = "the worker's lifecycle to be entered"


class WarmUp:
    """Keeps ``readiness`` true to the model. ``on_change`` is called after each change of state."""

    def __init__(
        self,
        readiness: Readiness,
        books: Books,
        health: Health,
        *,
        tail: LogTail | None,
        log_actions: Sequence[tuple[LogAction, str]],
        benchmark: Benchmark | None,
        lifecycle: Lifecycle | None,
        on_change: Callable[[], None],
    ) -> None:
        self.readiness = readiness
        self._books = books
        self._health = health
        self.tail = tail
        self._log_actions = log_actions
        self.benchmark = benchmark
        self._lifecycle = lifecycle
        self._on_change = on_change
        self._changed = asyncio.Event()
        self._unreachable = asyncio.Event()
        self._pause_s = FIRST_PAUSE_S

    def event(self, event: Event, *, error: str = "", source: ErrorSource = ErrorSource.MODEL) -> None:
        """Take an event in, from wherever it comes."""
        before = self.readiness.state
        if not self.readiness.on(event, time.monotonic(), error=error, source=source):
            return
        after = self.readiness.state
        if after is State.ERRORED:
            log.error("the worker has an error: %s", error)
        else:
            log.info("the worker is %s (was %s)", after.value, before.value)
        self._changed.set()
        self._on_change()

    def model_unreachable(self) -> None:
        """A request met a closed port: look after the model now."""
        self._unreachable.set()

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            if self.tail is not None:
                tasks.create_task(self._follow_log(self.tail))
            if self._lifecycle is not None:
                tasks.create_task(self._live(self._lifecycle))
            tasks.create_task(self._do_what_each_state_calls_for())

    async def _live(self, lifecycle: Lifecycle) -> None:
        """The author's own start and end: loaded once entered, left when the worker stops."""
        try:
            async with lifecycle:
                self.event(Event.ENTERED)
                await asyncio.Event().wait()
        except AUTHOR_ERRORS as error:
            log.exception("the worker's lifecycle failed")
            told = f"lifecycle: {type(error).__name__}: {error}"
            self.event(Event.ERROR, error=told, source=ErrorSource.LIFECYCLE)

    # --- the model's log ---

    async def _follow_log(self, tail: LogTail) -> None:
        async for line in tail.lines():
            self._read_line(line)

    def _read_line(self, line: str) -> None:
        for action, text in self._log_actions:
            if text not in line:
                continue
            if action is LogAction.ModelLoaded:
                self.event(Event.MODEL_LOADED)
            elif action is LogAction.ModelError:
                self.event(Event.ERROR, error=line.strip()[:500])
            else:
                log.info("model: %s", line.strip()[:500])
            return

    # --- what each state calls for ---

    async def _do_what_each_state_calls_for(self) -> None:
        work: dict[State, Callable[[], Coroutine[None, None, None]]] = {
            State.STARTING: self._wait_until_loaded,
            State.LOADED: self._wait_until_it_answers,
            State.BENCHMARKING: self._find_capacity,
            State.READY: self._watch,
            State.ERRORED: self._recover,
            State.DRAINING: self._nothing,
        }
        while True:
            self._changed.clear()
            task = asyncio.create_task(work[self.readiness.state]())
            changed = asyncio.create_task(self._changed.wait())
            try:
                await asyncio.wait({task, changed}, return_when=asyncio.FIRST_COMPLETED)
                if task.done():
                    task.result()  # a fault of ours is not to be swallowed
                    await changed
            finally:
                await _end(task, changed)

    async def _nothing(self) -> None:
        """The state ends by an event from elsewhere."""

    async def _wait_until_loaded(self) -> None:
        if self._lifecycle is not None:
            self.readiness.waiting_for = _ENTRY
            return
        texts = [repr(text) for action, text in self._log_actions if action is LogAction.ModelLoaded]
        if self.tail is not None and texts:  # a log that says nothing of loading is read for its errors only
            self.readiness.waiting_for = f"a line in {self.tail.path} that holds {' or '.join(texts)}"
            await self._remind()
            return
        self.readiness.waiting_for = f"{self._health.what} to be well"
        await self._until_well()
        self.event(Event.MODEL_LOADED)

    async def _remind(self) -> None:
        """Say now and then what is waited for, until the state changes."""
        began_s = time.monotonic()
        while True:
            await asyncio.sleep(REMIND_S)
            waited_s = time.monotonic() - began_s
            log.warning("waiting for %.0f s now for %s", waited_s, self.readiness.waiting_for)

    async def _wait_until_it_answers(self) -> None:
        self.readiness.waiting_for = f"{self._health.what} to be well"
        await self._until_well()
        self.event(Event.MODEL_ANSWERS)

    async def _find_capacity(self) -> None:
        if self.benchmark is None:
            self._books.learn_capacity()
            self.event(Event.SCORED)
            return
        self.readiness.waiting_for = "the benchmark"
        try:
            self._books.set_capacity(await self.benchmark.capacity_per_s())
        except BenchmarkFailed as error:
            self.event(Event.ERROR, error=str(error), source=ErrorSource.BENCHMARK)
            return
        self._pause_s = FIRST_PAUSE_S
        self.event(Event.SCORED)

    async def _watch(self) -> None:
        """While ready: look at health URL or port now and then, and at once when a request met a closed port."""
        self._unreachable.clear()
        failed = 0
        while failed < FAILED_CHECKS_TO_ERROR:
            await self._until_next_check(CHECK_AGAIN_S if failed else None)
            problem = await self._health.problem()
            failed = failed + 1 if problem else 0
            if problem:
                log.warning("the model is not well (%d of %d): %s", failed, FAILED_CHECKS_TO_ERROR, problem)
            if failed == FAILED_CHECKS_TO_ERROR:
                self.event(Event.ERROR, error=problem, source=ErrorSource.HEALTH)

    async def _until_next_check(self, soon_s: float | None) -> None:
        if soon_s is not None:
            await asyncio.sleep(soon_s)
            return
        try:
            async with asyncio.timeout(HEALTH_INTERVAL_S):
                await self._unreachable.wait()
        except TimeoutError:
            return
        self._unreachable.clear()

    async def _recover(self) -> None:
        source = self.readiness.error_source
        if source is ErrorSource.LIFECYCLE:
            self.readiness.waiting_for = "a restart: the worker's lifecycle has failed"
            return
        if not self.readiness.is_entered:
            self.readiness.waiting_for = _ENTRY
            return
        if source is ErrorSource.BENCHMARK:
            self.readiness.waiting_for = f"the next try of the benchmark, in {self._pause_s:g} s"
            await self._pause()
        elif source is ErrorSource.HEALTH:
            self.readiness.waiting_for = f"{self._health.what} to be well"
            await self._until_well()
        elif self._health.has_url:
            self.readiness.waiting_for = f"{self._health.what} to stay well"
            await self._until_well(times=GOOD_CHECKS_TO_RECOVER)
        elif self.benchmark is not None:
            self.readiness.waiting_for = "the model to be loaded again, or to answer a benchmark request"
            await self._until_a_probe_succeeds(self.benchmark)
        else:
            self.readiness.waiting_for = "the model to be loaded again"
            return
        self.event(Event.RECOVERED)

    async def _until_well(self, times: int = 1) -> None:
        """Until the health URL, or the port where there is none, has been well so many times in a row."""
        good, began_s = 0, time.monotonic()
        remind_s = began_s + REMIND_S
        while good < times:
            problem = await self._health.problem()
            good = 0 if problem else good + 1
            if problem and time.monotonic() >= remind_s:
                remind_s = time.monotonic() + REMIND_S
                waited_s = time.monotonic() - began_s
                log.warning("waiting for %.0f s now for %s: %s", waited_s, self.readiness.waiting_for, problem)
            if good < times:
                await asyncio.sleep(CHECK_AGAIN_S if good else LOOK_AGAIN_S)

    async def _until_a_probe_succeeds(self, benchmark: Benchmark) -> None:
        while True:
            await self._pause()
            try:
                if not (await benchmark.route.probe()).failure:
                    return
            except BenchmarkFailed:
                continue

    async def _pause(self) -> None:
        """Longer each time, until a benchmark succeeds."""
        pause_s, self._pause_s = self._pause_s, min(2 * self._pause_s, LONGEST_PAUSE_S)
        await asyncio.sleep(pause_s)


async def _end(*tasks: asyncio.Task[object]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
