"""Two requests for one answer: the second is sent when the first has had its time, and the slower one is let go."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from pyworker.client.attempts import Answered

__all__ = ["raced"]

Begin = Callable[[], Coroutine[Any, Any, Answered]]


async def raced(
    first: Begin, second: Begin, found: asyncio.Event, after_s: float, may_hedge: Callable[[], bool]
) -> Answered:
    """The answer that begins first and is no 5xx, else the first's.

    ``second`` begins ``after_s`` after ``found``, unless the first has answered or ``may_hedge`` says no. Raises what
    the first does when the second has no answer, either.
    """
    tasks = [asyncio.create_task(first())]
    try:
        if not await _answers_within(tasks[0], found, after_s) and may_hedge():
            tasks.append(asyncio.create_task(second()))
            await _settled(tasks)
        best = next((task for task in tasks if _is_good(task)), tasks[0])
        answered = await best
        tasks.remove(best)
        return answered
    finally:
        await _let_go(tasks)


async def _answers_within(task: asyncio.Task[Answered], found: asyncio.Event, after_s: float) -> bool:
    """Whether it ends before ``after_s`` have passed since there was a worker."""
    finding = asyncio.create_task(found.wait())
    try:
        await asyncio.wait({task, finding}, return_when=asyncio.FIRST_COMPLETED)
        done, _ = await asyncio.wait({task}, timeout=after_s)
        return bool(done)
    finally:
        finding.cancel()


async def _settled(tasks: list[asyncio.Task[Answered]]) -> None:
    """Until one is good, or all have ended."""
    pending = set(tasks)
    while pending and not any(map(_is_good, tasks)):
        _, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)


def _is_good(task: asyncio.Task[Answered]) -> bool:
    return task.done() and not task.cancelled() and task.exception() is None and task.result().response.status < 500


async def _let_go(tasks: list[asyncio.Task[Answered]]) -> None:
    """End them; a worker sees its connection close."""
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks)
    for task in tasks:
        if not task.cancelled() and task.exception() is None:
            task.result().response.close()
