"""Calling what a worker's author wrote, whatever it is: sync or async, quick or slow.

A quick function is called on the event loop: a thread would cost more than it does. One that took longer than SLOW_S
is named in the log and gets a thread from then on, where it holds nothing up. It still runs one call at a time, as it
did on the loop, so that it need not be safe for threads.
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
import traceback
from collections.abc import Callable
from typing import Any, TypeVar

__all__ = ["AuthorFunction", "in_thread", "is_async", "place_of"]

log = logging.getLogger("pyworker.handler")

SLOW_S = 0.05
QUICK_CALLS_TO_RETURN = 10  # a first call often loads something that later ones find
KINDS_OF_ERRORS = 100

_T = TypeVar("_T")


class AuthorFunction:
    """One function and what is known of its speed. ``what`` names it: "request_parser of /generate".

    While ``is_away`` it can only be awaited, by ``call``; else ``call_now`` does as well.
    """

    def __init__(self, function: Callable[..., Any], what: str) -> None:
        self.function = function
        self.what = what
        self._is_async = is_async(function)
        self._slow_calls = 0
        self._quick_in_a_row = 0
        self._has_thread = False
        self._one_at_a_time = asyncio.Lock()
        self._told: set[tuple[object, ...]] = set()

    @property
    def is_away(self) -> bool:
        """Whether it is not to be called on the event loop."""
        return self._is_async or self._has_thread

    def call_now(self, *arguments: Any) -> Any:
        """Call it here."""
        began_s = time.perf_counter()
        try:
            return self.function(*arguments)
        finally:
            took_s = time.perf_counter() - began_s
            if took_s > SLOW_S:
                self._was_slow(took_s)

    async def call(self, *arguments: Any) -> Any:
        """Call it where it belongs."""
        if self._is_async:
            return await self.function(*arguments)
        given = await self._call_in_thread(arguments) if self._has_thread else self.call_now(*arguments)
        return await given if inspect.isawaitable(given) else given

    async def _call_in_thread(self, arguments: tuple[Any, ...]) -> Any:
        await self._one_at_a_time.acquire()
        call = in_thread(functools.partial(self._timed, arguments))
        call.add_done_callback(lambda _: self._one_at_a_time.release())
        given, took_s = await asyncio.shield(call)  # who leaves does not end a thread: the next one waits for it
        self._quick_in_a_row = 0 if took_s > SLOW_S else self._quick_in_a_row + 1
        if took_s > SLOW_S:
            self._slow_calls += 1
        elif self._slow_calls == 1 and self._quick_in_a_row == QUICK_CALLS_TO_RETURN:
            self._has_thread = False
        return given

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
                "the %s, %s, took %.0f ms, and nothing else was served meanwhile: from now on it runs in a thread, "
                "one call at a time; make it quicker, or async",
                self.what,
                place_of(self.function),
                1000 * took_s,
            )

    def tell_failure(self, error: BaseException, then: str) -> None:
        """To the log, with its trace, when it has not failed at this place in this way before."""
        last = traceback.extract_tb(error.__traceback__)[-1:]
        kind = (type(error), *((frame.filename, frame.lineno) for frame in last))
        if kind not in self._told and len(self._told) < KINDS_OF_ERRORS:
            self._told.add(kind)
            log.error("the %s, %s, failed: %s", self.what, place_of(self.function), then, exc_info=error)


def in_thread(call: Callable[[], _T]) -> asyncio.Future[_T]:
    """Run it in a thread that keeps no program from ending, unlike those of a pool."""
    future: concurrent.futures.Future[_T] = concurrent.futures.Future()
    future.set_running_or_notify_cancel()
    context = contextvars.copy_context()

    def run() -> None:
        try:
            future.set_result(context.run(call))
        except BaseException as error:  # noqa: BLE001 - whoever waits for it gets it
            future.set_exception(error)

    threading.Thread(target=run, name="pyworker-author", daemon=True).start()
    return asyncio.wrap_future(future)


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
