"""Requests at a steady rate, sent when they are due whether or not earlier ones have been answered (open loop)."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Final

from pyworker.errors import EngineRefused, EngineUnreachable, PyWorkerError
from pyworker.load.summary import Summary

__all__ = ["CallOnce", "run_load"]

CallOnce = Callable[[], Awaitable[int]]  # sends one request, reads its answer to the end, gives its status

PROGRESS_EVERY_S: Final = 5.0


async def run_load(call: CallOnce, requests: int, rate_per_s: float, summary: Summary) -> None:
    """Send ``requests`` at ``rate_per_s`` and wait for their answers, noting each in ``summary``.

    Raises EngineUnreachable or EngineRefused when that is what happens before any request was answered well: then
    all others would fail alike. Being cancelled is fine: the summary holds what there was.
    """
    begin_s = time.monotonic()
    progress = asyncio.create_task(_report_progress(summary, begin_s))
    try:
        async with asyncio.TaskGroup() as sending:
            for number in range(requests):
                due_s = begin_s + number / rate_per_s
                await asyncio.sleep(due_s - time.monotonic())
                summary.sent += 1
                sending.create_task(_send(call, due_s, summary))
    except* (EngineUnreachable, EngineRefused) as failures:
        raise failures.exceptions[0] from None
    finally:
        progress.cancel()


async def _send(call: CallOnce, due_s: float, summary: Summary) -> None:
    try:
        status = await call()
    except PyWorkerError as error:
        if isinstance(error, EngineUnreachable | EngineRefused) and not summary.ok:
            raise
        summary.errors[_words(error)] += 1
        return
    if 200 <= status < 300:
        summary.answered(time.monotonic() - due_s)
    else:
        summary.errors[f"the worker answers {status}"] += 1


async def _report_progress(summary: Summary, begin_s: float) -> None:
    while True:
        await asyncio.sleep(PROGRESS_EVERY_S)
        sys.stderr.write(summary.line(time.monotonic() - begin_s) + "\n")


def _words(error: PyWorkerError) -> str:
    """The kind of an error, without what differs from one request to the next."""
    return {
        "NoAnswerInTime": "no worker answered in time",
        "WorkerUnreachable": "the connection to the worker broke",
        "EngineUnreachable": "the engine did not answer",
        "EngineRefused": "the engine refused",
    }.get(type(error).__name__, type(error).__name__)
