"""Calls of ``/route/`` that are held until a worker is free: first come, first served."""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from collections.abc import Callable
from typing import Final

from pyworker.engine.core.workers import Endpoint
from pyworker.wire import RouteAnswer, WaitingAnswer

__all__ = ["LONGEST_WAIT_S", "WaitingRoom"]

LONGEST_WAIT_S: Final = 60.0

_Held = tuple[int, "asyncio.Future[RouteAnswer | None]"]


class WaitingRoom:
    """A line for each endpoint. ``poll(request_idx)`` asks whether a request's turn has come."""

    def __init__(self, poll: Callable[[int], RouteAnswer | WaitingAnswer | None]) -> None:
        self._poll = poll
        self._lines: defaultdict[Endpoint, deque[_Held]] = defaultdict(deque)
        self._closed = False

    async def hold(self, endpoint: Endpoint, request_idx: int, wait_s: float) -> RouteAnswer | None:
        """The answer once a worker is free; None when none was within ``wait_s``. Leaving it early is fine."""
        if self._closed or wait_s <= 0:
            return None
        turn: asyncio.Future[RouteAnswer | None] = asyncio.get_running_loop().create_future()
        self._lines[endpoint].append((request_idx, turn))
        try:
            async with asyncio.timeout(min(wait_s, LONGEST_WAIT_S)):
                return await turn
        except TimeoutError:
            return None

    def serve(self, endpoint: Endpoint) -> None:
        """Something changed: answer from the front of the line for as long as there are workers."""
        line = self._lines[endpoint]
        while line:
            request_idx, turn = line[0]
            if not turn.done():
                answer = self._poll(request_idx)
                if isinstance(answer, WaitingAnswer):
                    return
                turn.set_result(answer)
            line.popleft()

    def close(self) -> None:
        """Let everybody go, now and later."""
        self._closed = True
        for line in self._lines.values():
            for _, turn in line:
                if not turn.done():
                    turn.set_result(None)
