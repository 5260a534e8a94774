"""The ledger with a clock: a request's turn in it, and what is learned when it has ended."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Self

from pyworker.errors import QueueFull
from pyworker.worker.core.capacity import LearnedCapacity
from pyworker.worker.core.ledger import Entry, Lane, Ledger, Outcome, Stage
from pyworker.worker.core.status import Outbox, finished
from pyworker.worker.reporting.timings import Timings

__all__ = ["Books", "Turn"]


class Books:
    """Ledger, finished requests for the engine, timings, and the capacity while no benchmark gives it."""

    def __init__(self) -> None:
        self.ledger = Ledger()
        self.outbox = Outbox()
        self.timings = Timings()
        self.stopping = False  # what is cut off from now on is cut off by us, not by its client
        self.version = 0  # goes up with every change, so that a report knows there is news
        self._learned: LearnedCapacity | None = None
        self._settled = asyncio.Event()

    def changed(self) -> None:
        """There is news for the engine."""
        self.version += 1

    async def settled_or(self, timeout_s: float) -> None:
        """Until a request is settled, or for so long."""
        self._settled.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._settled.wait()

    def set_capacity(self, per_s: float) -> None:
        """The benchmark's result, or the author's word (workload/s)."""
        self.ledger.capacity_per_s, self._learned = per_s, None
        self._wake(self.ledger.set_ramp(None, time.monotonic()))
        self.changed()

    def learn_capacity(self) -> None:
        """No benchmark: start with one request at a time and learn from those served."""
        if self._learned is None and self.ledger.capacity_per_s == 0.0:
            self._learned = LearnedCapacity()
            self._wake(self.ledger.set_ramp(1, time.monotonic()))

    def turn(
        self, lane: Lane, workload: float, *, max_wait_s: float | None, request_idx: int, in_session: bool
    ) -> Turn:
        """Book a request. Raises QueueFull. Use the Turn in ``async with``: inside, it works."""
        turn = Turn(self, max_wait_s)
        turn.entry = self.ledger.admit(
            lane,
            workload,
            time.monotonic(),
            wake=turn.wake,
            max_wait_s=max_wait_s,
            request_idx=request_idx,
            in_session=in_session,
        )
        self.changed()
        return turn

    def settle(self, entry: Entry, outcome: Outcome, *, teaches_capacity: bool = True) -> None:
        """End a request: wake whose turn has come, tell the engine later, learn."""
        now_s = time.monotonic()
        working = entry.lane.working
        self._wake(self.ledger.settle(entry, outcome, now_s))
        self.changed()
        self._settled.set()
        record = finished(entry)
        if record is not None:
            self.outbox.add(record)
        if entry.started_s is not None:
            self.timings.queue.observe(entry.started_s - entry.received_s)
            self.timings.work.observe(now_s - entry.started_s)
            if self._learned is not None and teaches_capacity and outcome is Outcome.SERVED:
                self.ledger.capacity_per_s = self._learned.add(entry.workload, now_s - entry.started_s, working)

    def _wake(self, started: Iterable[Entry]) -> None:
        for entry in started:
            entry.wake()


class Turn:
    """One request from admission to settlement, whatever happens in between.

    ``outcome`` is what to settle it as when the block ends well; an exception decides for itself.
    """

    entry: Entry

    def __init__(self, books: Books, max_wait_s: float | None) -> None:
        self.outcome = Outcome.ERRORED
        self.client_gone: Callable[[], bool] = lambda: True
        self.teaches_capacity = True
        self._books = books
        self._max_wait_s = max_wait_s
        self._woken: asyncio.Future[None] | None = None

    def wake(self) -> None:
        """Its turn has come."""
        if self._woken is not None and not self._woken.done():
            self._woken.set_result(None)

    def head_arrived(self) -> None:
        """The model has begun to answer."""
        if self.entry.started_s is not None:
            self._books.timings.first_byte.observe(time.monotonic() - self.entry.started_s)

    def correct(self, workload: float) -> None:
        """The answer shows how much work it was."""
        self._books.ledger.correct(self.entry, workload)

    async def __aenter__(self) -> Self:
        if self.entry.stage is Stage.WORKING:
            return self
        try:
            await self._wait()
        except BaseException as error:
            self._books.settle(self.entry, self._outcome_of(error))
            raise
        return self

    async def _wait(self) -> None:
        """Raises QueueFull when the turn has not come within the limit."""
        self._woken = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(self._max_wait_s):
                await self._woken
        except TimeoutError:
            if self.entry.stage is Stage.WAITING:  # else its turn came in the very same moment
                raise QueueFull(retry_after_s=self._books.ledger.expected_wait_s()) from None

    async def __aexit__(
        self, type_: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        outcome = self.outcome if error is None else self._outcome_of(error)
        self._books.settle(self.entry, outcome, teaches_capacity=self.teaches_capacity)

    def _outcome_of(self, error: BaseException) -> Outcome:
        if isinstance(error, QueueFull):
            return Outcome.REJECTED
        if self._books.stopping:
            return Outcome.ERRORED
        if isinstance(error, ConnectionError):
            return Outcome.CANCELLED
        if isinstance(error, asyncio.CancelledError) and self.client_gone():
            return Outcome.CANCELLED
        return Outcome.ERRORED
