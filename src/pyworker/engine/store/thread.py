"""The store's calls off the event loop, in their order."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from pyworker.errors import PyWorkerError

__all__ = ["StoreThread"]

log = logging.getLogger("pyworker.engine")

P = ParamSpec("P")
T = TypeVar("T")


class StoreThread:
    """One thread: what is asked for first is stored first, so that a row is never overwritten by an older one."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="store")

    async def run(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """The call's result, or what it raises. Who is cancelled meanwhile has asked for it all the same."""
        return await asyncio.shield(asyncio.wrap_future(self._thread.submit(call, *args, **kwargs)))

    def later(self, call: Callable[P, object], *args: P.args, **kwargs: P.kwargs) -> None:
        """Do not wait for it; when it fails the log says so."""
        self._thread.submit(call, *args, **kwargs).add_done_callback(_say_why)

    async def close(self) -> None:
        """Wait until all that was asked for is done."""
        await asyncio.to_thread(self._thread.shutdown)


def _say_why(done: Future[object]) -> None:
    error = done.exception()
    if isinstance(error, PyWorkerError):
        log.error("a change was not stored", extra={"reason": str(error)})
    elif error is not None:
        log.error("a change was not stored", exc_info=error)
