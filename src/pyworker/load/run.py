"""Requests sent when they are due, whether or not earlier ones have been answered (open loop)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from contextlib import aclosing
from typing import Final, Protocol

from pyworker.client.answer import Answer
from pyworker.errors import EngineRefused, EngineUnreachable, PyWorkerError
from pyworker.load.outcome import Outcome
from pyworker.load.summary import Summary
from pyworker.load.trace import Arrival

__all__ = ["Send", "Watch", "run_load", "take_answer"]

Send = Callable[[Arrival, Outcome, "Clock"], Awaitable[None]]  # sends one request and notes what becomes of it
Clock = Callable[[], float]  # s since the test began
_EVENTS: Final = b"data:"


class Watch(Protocol):
    """Shows a test while it runs."""

    async def __call__(self, summary: Summary, clock: Clock) -> None:
        """Until cancelled."""
        ...


async def run_load(send: Send, arrivals: Iterable[Arrival], summary: Summary, watch: Watch | None = None) -> float:
    """Send a request for each arrival, wait for the answers, note all in ``summary``; gives the time it took (s).

    Raises EngineUnreachable or EngineRefused when that is what happens before any request was answered well: then
    all others would fail alike. Being cancelled is fine: the summary holds what there was.
    """
    begin_s = time.monotonic()

    def clock() -> float:
        return time.monotonic() - begin_s

    watching = asyncio.create_task(watch(summary, clock)) if watch else None
    try:
        async with asyncio.TaskGroup() as sending:
            for arrival in arrivals:
                early_s = arrival.due_s - clock()
                if early_s > 0:
                    await asyncio.sleep(early_s)
                outcome = Outcome(arrival.due_s)
                summary.begin(outcome)
                sending.create_task(_send(send, arrival, outcome, summary, clock))
    except* (EngineUnreachable, EngineRefused) as failures:
        raise failures.exceptions[0] from None
    finally:
        if watching is not None:
            watching.cancel()
            await asyncio.wait([watching])
    return clock()


async def take_answer(answer: Answer, outcome: Outcome, clock: Clock) -> None:
    """Read an answer to its end, noting when its pieces come; each event of a stream counts as a token."""
    outcome.status, outcome.worker = answer.status, answer.worker_url
    events = answer.headers.get("Content-Type", "").startswith("text/event-stream")
    async with aclosing(answer.chunks()) as chunks:
        async for chunk in chunks:
            if not outcome.tokens:
                outcome.first_s = clock()
            outcome.tokens += chunk.count(_EVENTS) if events else not outcome.tokens
    if not answer.ok:
        outcome.error = f"the worker answers {answer.status}"


async def _send(send: Send, arrival: Arrival, outcome: Outcome, summary: Summary, clock: Clock) -> None:
    outcome.sent_s = clock()
    try:
        await send(arrival, outcome, clock)
    except PyWorkerError as error:
        if isinstance(error, EngineUnreachable | EngineRefused) and not summary.ok:
            raise
        outcome.error = _words(error)
    outcome.end_s = clock()
    summary.end(outcome)


def _words(error: PyWorkerError) -> str:
    """The kind of an error, without what differs from one request to the next."""
    return {
        "NoAnswerInTime": "no worker answered in time",
        "WorkerUnreachable": "the connection to the worker broke",
        "EngineUnreachable": "the engine did not answer",
        "EngineRefused": "the engine refused",
    }.get(type(error).__name__, type(error).__name__)
