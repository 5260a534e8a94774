"""A list that can be awaited: what a fake has seen, in order."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final, TypeVar

__all__ = ["WAIT_S", "Seen"]

WAIT_S: Final = 20.0  # how long a test waits before it is said what was seen instead

T = TypeVar("T")


class Seen(list[T]):
    """What was seen so far; ``next``, ``where`` and ``at_least`` wait for more.

    Each wait ends with a TimeoutError after ``wait_s`` seconds, naming what was seen by then. Only ``append`` and
    ``clear`` may change it.
    """

    def __init__(self) -> None:
        super().__init__()
        self._taken = 0
        self._waiting: set[asyncio.Future[None]] = set()

    def append(self, item: T, /) -> None:
        """Add an item and wake whoever waits."""
        super().append(item)
        for waiter in self._waiting:
            if not waiter.done():
                waiter.set_result(None)

    def clear(self) -> None:
        """Forget everything."""
        super().clear()
        self._taken = 0

    async def next(self, *, wait_s: float = WAIT_S) -> T:
        """The oldest item that ``next`` has not given out yet; waits for one when there is none."""
        await self._until(lambda: len(self) > self._taken, "one more", wait_s)
        self._taken += 1
        return self[self._taken - 1]

    async def where(self, predicate: Callable[[T], Any], *, wait_s: float = WAIT_S) -> T:
        """The first item, seen already or to come, for which ``predicate`` holds."""
        looked_at = 0
        found: list[T] = []

        def look() -> bool:
            nonlocal looked_at
            found.extend(item for item in self[looked_at:] if predicate(item))
            looked_at = len(self)
            return bool(found)

        await self._until(look, "one that fits", wait_s)
        return found[0]

    async def at_least(self, items: int, *, wait_s: float = WAIT_S) -> list[T]:
        """The first ``items`` items, once there are so many."""
        await self._until(lambda: len(self) >= items, f"{items} in all", wait_s)
        return self[:items]

    async def _until(self, holds: Callable[[], bool], what: str, wait_s: float) -> None:
        try:
            async with asyncio.timeout(wait_s):
                while not holds():
                    await self._change()
        except TimeoutError:
            last = ", ".join(repr(item) for item in self[-10:])
            raise TimeoutError(
                f"waited {wait_s:g} s for {what}; seen: {len(self)}, the last of them: [{last}]"
            ) from None

    async def _change(self) -> None:
        waiter = asyncio.get_running_loop().create_future()
        self._waiting.add(waiter)
        try:
            await waiter
        finally:
            self._waiting.discard(waiter)
