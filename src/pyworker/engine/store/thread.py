"""The store's calls off the event loop, in their order."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

__all__ = ["StoreThread"]

P = ParamSpec("P")
T = TypeVar("T")


class StoreThread:
    """One thread: what is asked for first is stored first, so that a row is never overwritten by an older one."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="store")

    async def run(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """The call's result, or what it raises. Who is cancelled meanwhile has asked for it all the same."""
        return await asyncio.shield(asyncio.wrap_future(self._thread.submit(call, *args, **kwargs)))

    async def close(self) -> None:
        """Wait until all that was asked for is done."""
        await asyncio.to_thread(self._thread.shutdown)
