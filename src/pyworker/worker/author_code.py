"""Calling what a worker's author wrote, whatever it is: sync or async, quick or slow.

A quick function is called on the event loop: a thread would cost more than it does. One that took longer than SLOW_S
is named in the log and gets a thread from then on, where it holds nothing up. It still runs one call at a time, as it
did on the loop, so that it need not be safe for threads; a call that does not end is given up, and the next one begins.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextvars
import functools
import inspect
import logging
import threading
import time
from collections.abc import Callable
from typing import Any, NoReturn, TypeVar

from pyworker.errors import QueueFull

__all__ = ["AuthorFunction", "in_thread", "is_async", "place_of"]

log = logging.getLogger("pyworker.handler")

SLOW_S = 0.05
QUICK_CALLS_TO_RETURN = 10  # a first call often loads something that later ones find
SAY_AFTER_S = 5.0  # that a call runs in its thread
LIMIT_S = 60.0  # for a call in its thread, and for waiting for the thread
MOST_WAITING = 100
MOST_HANGING = 8  # threads given up that have not ended

_T = TypeVar("_T")


class AuthorFunction:
    """One function and what is known of its speed. ``what`` names it: "request_parser of /generate".

    While ``is_away`` it can only be awaited, by ``call``; else ``call_now`` does as well.
    """

    def __init__(self, function: Callable[..., Any], what: str) -> None:
        self.function = function
        self.what = what
        self._is_async = is_async(function)
        self._gives_awaitables = False
        self._slow_calls = 0
        self._quick_in_a_row = 0
        self._has_thread = False
        self._one_at_a_time = asyncio.Lock()
        self._waiting = 0
        self._hanging = 0

    @property
    def named(self) -> str:
        """It, and where it stands."""
        return f"{self.what}, {place_of(self.function)},"

    @property
    def is_away(self) -> bool:
        """Whether it is not to be called on the event loop."""
        return self._is_async or self._has_thread or self._gives_awaitables

    def call_now(self, *arguments: Any) -> Any:
        """Call it here. What would end the loop is raised as a RuntimeError."""
        began_s = time.perf_counter()
        try:
            given = self.function(*arguments)
        except SystemExit as error:
            _raise_contained(error)
        else:
            self._gives_awaitables = self._gives_awaitables or inspect.isawaitable(given)
            return given
        finally:
            took_s = time.perf_counter() - began_s
            if took_s > SLOW_S:
                self._was_slow(took_s)

    async def call(self, *arguments: Any) -> Any:
        """Call it where it belongs.

        Raises what it raises; QueueFull when its thread has too much to do, TimeoutError when its thread hangs.
        """
        try:
            if self._is_async:
                return await self.function(*arguments)
            given = await self._call_in_thread(arguments) if self._has_thread else self.call_now(*arguments)
            return await given if inspect.isawaitable(given) else given
        except SystemExit as error:
            _raise_contained(error)

    async def _call_in_thread(self, arguments: tuple[Any, ...]) -> Any:
        await self._turn()
        call = in_thread(functools.partial(self._timed, arguments))
        ended = asyncio.create_task(self._ended(call))
        given, took_s = await asyncio.shield(ended)  # who leaves does not end a thread: the next one waits for it
        self._quick_in_a_row = 0 if took_s > SLOW_S else self._quick_in_a_row + 1
        if took_s > SLOW_S:
            self._slow_calls += 1
        elif self._slow_calls == 1 and self._quick_in_a_row == QUICK_CALLS_TO_RETURN:
            self._has_thread = False
        return given

    async def _turn(self) -> None:
        """Wait until no other call runs. Raises QueueFull, TimeoutError."""
        if self._waiting >= MOST_WAITING:
            raise QueueFull(f"{self._waiting} requests wait for the {self.what}, which is slow", retry_after_s=1)
        self._waiting += 1
        try:
            async with asyncio.timeout(LIMIT_S):
                await self._one_at_a_time.acquire()
        except TimeoutError:
            raise QueueFull(f"the {self.what} had no time for this request", retry_after_s=LIMIT_S) from None
        finally:
            self._waiting -= 1
        if self._hanging >= MOST_HANGING:
            self._one_at_a_time.release()
            raise TimeoutError(f"{self._hanging} calls of it hang, so that no more are begun: start the worker again")

    async def _ended(self, call: asyncio.Future[tuple[Any, float]]) -> tuple[Any, float]:
        """What the call gave. Then the next may begin, though a call that hangs has not ended."""
        try:
            if not (await asyncio.wait([call], timeout=SAY_AFTER_S))[0]:
                log.warning(
                    "the %s has run for %g s in its thread, and %d requests wait for it",
                    self.named,
                    SAY_AFTER_S,
                    self._waiting,
                )
                await asyncio.wait([call], timeout=max(0.0, LIMIT_S - SAY_AFTER_S))
            if not call.done():
                self._hanging += 1
                call.add_done_callback(self._ended_late)
                raise TimeoutError(f"it has not ended within {LIMIT_S:g} s, and is given up")
            return call.result()
        finally:
            self._one_at_a_time.release()

    def _ended_late(self, call: asyncio.Future[tuple[Any, float]]) -> None:
        self._hanging -= 1
        if not call.cancelled():
            call.exception()  # nobody waits for it

    def _timed(self, arguments: tuple[Any, ...]) -> tuple[Any, float]:
        began_s = time.perf_counter()
        given = self.function(*arguments)
        return given, time.perf_counter() - began_s

    def _was_slow(self, took_s: float) -> None:
        self._slow_calls += 1
        self._quick_in_a_row = 0
        self._has_thread = True
        if self._slow_calls == 1:
            log.warning(
                "the %s took %.0f ms, and nothing else was served meanwhile: from now on it runs in a thread, "
                "one call at a time; make it quicker, or async",
                self.named,
                1000 * took_s,
            )


def in_thread(call: Callable[[], _T]) -> asyncio.Future[_T]:
    """Run it in a thread that keeps no program from ending, unlike those of a pool.

    StopIteration, which no future takes, and SystemExit, which would end the loop, come as a RuntimeError with that as
    its cause.
    """
    future: concurrent.futures.Future[_T] = concurrent.futures.Future()
    future.set_running_or_notify_cancel()
    context = contextvars.copy_context()

    def run() -> None:
        try:
            future.set_result(context.run(_contained, call))
        except BaseException as error:  # noqa: BLE001 - whoever waits for it gets it
            future.set_exception(error)

    threading.Thread(target=run, name="pyworker-author", daemon=True).start()
    return asyncio.wrap_future(future)


def _contained(call: Callable[[], _T]) -> _T:
    try:
        return call()
    except (StopIteration, SystemExit) as error:
        _raise_contained(error)


def _raise_contained(error: BaseException) -> NoReturn:
    why = "an iterator has run out" if isinstance(error, StopIteration) else "it may not end the worker"
    raise RuntimeError(f"it raised {error!r}: {why}") from error


def is_async(function: object) -> bool:
    """Whether calling it gives something to await, as far as that can be seen beforehand."""
    unwrapped = function.func if isinstance(function, functools.partial) else function
    call = getattr(type(unwrapped), "__call__", None)  # noqa: B004 - of an object that can be called
    return inspect.iscoroutinefunction(unwrapped) or inspect.iscoroutinefunction(call)


def place_of(function: object) -> str:
    """Name, file and line: a lambda's name alone says nothing."""
    function = function.func if isinstance(function, functools.partial) else function
    code = getattr(inspect.unwrap(function) if callable(function) else function, "__code__", None)
    name = getattr(function, "__qualname__", type(function).__qualname__)
    return f"{name} at {code.co_filename}:{code.co_firstlineno}" if code is not None else str(name)
