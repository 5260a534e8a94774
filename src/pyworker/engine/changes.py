"""Changes that are made to their end: whoever asked for one may be gone, or cancelled, before it is made.

A change is what is stored and what follows from it in memory. Were it cut off in between, store and memory would
differ until the next start: a key revoked in the one would still open everything in the other.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

from pyworker.errors import PyWorkerError

__all__ = ["Changes", "whole"]

log = logging.getLogger("pyworker.engine")

P = ParamSpec("P")
T = TypeVar("T")


class Changes:
    """Those that are under way."""

    def __init__(self) -> None:
        self._under_way: set[asyncio.Task[Any]] = set()

    async def make(self, change: Coroutine[Any, Any, T]) -> T:
        """Its result, or what it raises. Who is cancelled waits no longer for it; it is made all the same."""
        if asyncio.current_task() in self._under_way:  # a part of a greater change
            return await change
        task = self._begun(change)
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError:
            task.add_done_callback(_say_why)
            raise
        return task.result()

    def begin(self, change: Coroutine[Any, Any, object]) -> None:
        """Do not wait for it; when it fails the log says so."""
        self._begun(change).add_done_callback(_say_why)

    async def close(self) -> None:
        """Wait until all that was begun is done."""
        while self._under_way:
            await asyncio.wait(self._under_way)

    def _begun(self, change: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task = asyncio.create_task(change)
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)
        return task


class _Changing(Protocol):
    @property
    def changes(self) -> Changes: ...


S = TypeVar("S", bound=_Changing)


def whole(
    method: Callable[Concatenate[S, P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate[S, P], Coroutine[Any, Any, T]]:
    """A method that is a change: see ``Changes.make``. Its object has the ``changes`` that it belongs to."""

    @wraps(method)
    async def made(self: S, *args: P.args, **kwargs: P.kwargs) -> T:
        return await self.changes.make(method(self, *args, **kwargs))

    return made


def _say_why(done: asyncio.Task[Any]) -> None:
    error = None if done.cancelled() else done.exception()
    if isinstance(error, PyWorkerError):
        log.info("a change that nobody waits for was not made: %s", error)
    elif error is not None:
        log.error("a change that nobody waits for was not made", exc_info=error)
