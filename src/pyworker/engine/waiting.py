"""Calls of ``/route/`` that are held until a worker is free. Whose turn it is the line knows (``core/line.py``)."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Final

__all__ = ["LONGEST_WAIT_S", "WaitingRoom"]

LONGEST_WAIT_S: Final = 600.0


class WaitingRoom:
    """Who is held here, by ``request_idx``."""

    def __init__(self) -> None:
        self._held: dict[int, asyncio.Future[None]] = {}
        self._owners: dict[int, str] = {}
        self._closed = False

    def __len__(self) -> int:
        return len(self._held)

    async def hold(self, request_idx: int, wait_s: float, owner: str = "") -> None:
        """Until the request has a worker, or for ``wait_s``. Leaving it early is fine.

        ``owner`` names the key that asks.

        The same request held twice: the first call is let go.
        """
        if self._closed or wait_s <= 0:
            return
        self.wake([request_idx])
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._held[request_idx], self._owners[request_idx] = turn, owner
        try:
            async with asyncio.timeout(min(wait_s, LONGEST_WAIT_S)):
                await turn
        except TimeoutError:
            return
        finally:
            if self._held.get(request_idx) is turn:
                del self._held[request_idx], self._owners[request_idx]

    def wake(self, request_idxs: Iterable[int]) -> None:
        """These have a worker, or need not wait any more."""
        for request_idx in request_idxs:
            turn = self._held.get(request_idx)
            if turn is not None and not turn.done():
                turn.set_result(None)

    def wake_all_of(self, owner: str) -> None:
        """The key that this names opens nothing any more."""
        self.wake([request_idx for request_idx, whose in self._owners.items() if whose == owner])

    def close(self) -> None:
        """Let everybody go, now and later."""
        self._closed = True
        self.wake(list(self._held))
