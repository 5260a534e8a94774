"""When a request of the gateway got where: routed, a worker found, its answer begun; as ``Server-Timing``."""

from __future__ import annotations

import time

import msgspec

from pyworker.client.attempts import Ask
from pyworker.wire import RouteAnswer, RouteRequest, WaitingAnswer

__all__ = ["Way"]


class Way:
    """Times of one request; ``began_s`` is when it came, on the monotonic clock.

    The first question is put without being held, so that what routing takes and what waiting takes can be told apart.
    """

    def __init__(self, ask: Ask, began_s: float) -> None:
        self._ask = ask
        self._began_s = self._asked_s = self._routed_s = self._found_s = self._answered_s = began_s
        self._is_routed = False
        self._url = ""

    async def ask(self, query: RouteRequest) -> RouteAnswer | WaitingAnswer:
        """Ask for a worker. Raises what asking raises."""
        answer = await (self._ask(query) if self._is_routed else self._ask_first(query))
        if isinstance(answer, RouteAnswer):
            self._found_s, self._url = time.monotonic(), answer.url
        return answer

    def answered(self) -> None:
        """The head of an answer is there."""
        self._answered_s = time.monotonic()

    def server_timing(self) -> str:
        """W3C Server Timing, in ms: reading the request, ``route``, ``wait`` for a worker, ``worker`` to its head."""
        parts = (
            ("body", self._asked_s - self._began_s),
            ("route", self._routed_s - self._asked_s),
            ("wait", self._found_s - self._routed_s),
            ("worker", self._answered_s - self._found_s),
        )
        times = ", ".join(f"{name};dur={took_s * 1000:.2f}" for name, took_s in parts)
        return times + (f';desc="{self._url}"' if '"' not in self._url and "\\" not in self._url else "")

    async def _ask_first(self, query: RouteRequest) -> RouteAnswer | WaitingAnswer:
        self._asked_s = time.monotonic()
        answer = await self._ask(msgspec.structs.replace(query, wait=None))
        self._routed_s, self._is_routed = time.monotonic(), True
        if isinstance(answer, WaitingAnswer) and query.wait:
            return await self._ask(msgspec.structs.replace(query, request_idx=answer.request_idx))
        return answer
