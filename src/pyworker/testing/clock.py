"""Time that stands still until a test moves it."""

from __future__ import annotations

import asyncio
import heapq
import itertools

from pyworker.testing.seen import WAIT_S

__all__ = ["ManualClock"]


class ManualClock:
    """A clock for whatever takes time as an argument: call it for the time in s, ``advance`` it by hand.

    ``sleep`` is asyncio.sleep on this clock: it ends when the clock was advanced far enough.
    """

    def __init__(self, now_s: float = 1000.0) -> None:
        self.now_s = now_s
        self._order = itertools.count()
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._more = asyncio.Event()

    def __call__(self) -> float:
        return self.now_s

    def advance(self, time_s: float) -> None:
        """Move the clock on and wake those whose sleep is over. Raises ValueError for a step back."""
        if time_s < 0:
            raise ValueError("a clock does not go back")
        self.now_s += time_s
        while self._sleepers and self._sleepers[0][0] <= self.now_s:
            _, _, sleeper = heapq.heappop(self._sleepers)
            if not sleeper.done():
                sleeper.set_result(None)

    async def sleep(self, time_s: float) -> None:
        """Wait until the clock was advanced by ``time_s`` from now."""
        sleeper = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self.now_s + time_s, next(self._order), sleeper))
        self._more.set()
        await sleeper

    async def sleepers(self, tasks: int = 1, *, wait_s: float = WAIT_S) -> None:
        """Wait until so many tasks sleep on this clock, so that advancing it reaches them."""
        async with asyncio.timeout(wait_s):
            while sum(not sleeper.done() for _, _, sleeper in self._sleepers) < tasks:
                self._more.clear()
                await self._more.wait()
