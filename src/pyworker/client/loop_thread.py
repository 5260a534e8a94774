"""An event loop in a thread of its own, for those who have none."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import CancelledError, Future
from typing import Any, TypeVar

from pyworker.errors import CallFailed

__all__ = ["LoopThread"]

_T = TypeVar("_T")


class LoopThread:
    """Runs what any thread gives it; that thread waits. It is a daemon: a program that ends does not wait for it.

    What is given is a function, called in that loop, so that nothing is begun that nobody would end.
    """

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()  # what is given comes before the end, or is refused
        self._ends = False

    def start(self) -> None:
        """Begin. Raises CallFailed when it has begun before."""
        if self._thread is not None:
            raise CallFailed("this client is open already, or was closed: make another one")
        self._loop = _new_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="pyworker-client", daemon=True)
        self._thread.start()

    def run(self, work: Callable[[], Awaitable[_T]]) -> _T:
        """What ``work`` gives. Whoever is interrupted meanwhile cancels it. Raises what it does, and CallFailed."""
        if threading.current_thread() is self._thread:
            raise CallFailed("on_obstacle is called in the client's own thread, which cannot wait for itself")
        future = self._given(work)
        if future is None:
            raise CallFailed("this client is not open: call it within its `with`")
        return _result(future)

    def clean_up(self, work: Callable[[], Awaitable[Any]]) -> None:
        """The same for what ends something; after the end of all there is nothing left to do.

        The garbage collector may want it in the loop's own thread, which cannot wait for itself.
        """
        future = self._given(work)
        if future is not None and threading.current_thread() is not self._thread:
            _result(future)

    def stop(self, last: Callable[[], Awaitable[Any]]) -> None:
        """Cancel what is under way, do this, and end. Who still waits for something gets a CallFailed."""
        with self._lock:
            self._ends = True
            loop, thread = self._loop, self._thread
        if loop is None or thread is None:
            return
        try:
            asyncio.run_coroutine_threadsafe(_end(last), loop).result()
        finally:
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            loop.close()

    def _given(self, work: Callable[[], Awaitable[_T]]) -> Future[_T] | None:
        with self._lock:
            if self._loop is None or self._ends:
                return None
            return asyncio.run_coroutine_threadsafe(_awaited(work), self._loop)


async def _awaited(work: Callable[[], Awaitable[_T]]) -> _T:
    return await work()


async def _end(last: Callable[[], Awaitable[Any]]) -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    try:
        await last()
    finally:
        await asyncio.get_running_loop().shutdown_asyncgens()


def _result(future: Future[_T]) -> _T:
    try:
        return future.result()
    except CancelledError:
        raise CallFailed("the client was closed before this call had its answer") from None
    except BaseException:
        future.cancel()
        raise


def _new_loop() -> asyncio.AbstractEventLoop:
    """uvloop's where there is one."""
    try:
        import uvloop  # noqa: PLC0415 - not on every platform
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()
