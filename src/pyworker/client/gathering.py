"""Many requests of one moment ask for their workers in one call, where the engine knows how."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Final

from pyworker.client.engine_calls import EngineCalls
from pyworker.errors import EngineRefused, EngineUnreachable
from pyworker.wire import RouteAnswer, RouteRequest, WaitingAnswer
from pyworker.wire_routes import MOST_ROUTES

__all__ = ["Gathering"]

GATHER_S: Final = 0.002  # while a call is out, which those that come meanwhile need not wait for
_UNKNOWN: Final = frozenset({404, 405})

_Answer = RouteAnswer | WaitingAnswer | None
_Asked = tuple[RouteRequest, "asyncio.Future[_Answer]"]


class Gathering:
    """To be used with ``async with``. A request that is alone, comes again, or has to wait asks for itself."""

    def __init__(self, engine: EngineCalls) -> None:
        self._engine = engine
        self._asked: list[_Asked] = []
        self._sending: asyncio.TimerHandle | asyncio.Handle | None = None
        self._calls: set[asyncio.Task[None]] = set()
        self._is_known = True

    async def __aenter__(self) -> Gathering:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._sending is not None:
            self._sending.cancel()
        for call in self._calls:
            call.cancel()
        if self._calls:
            await asyncio.wait(self._calls)

    async def ask(self, query: RouteRequest) -> RouteAnswer | WaitingAnswer:
        """A worker for this request, as ``EngineCalls.ask``. Raises EngineUnreachable, EngineRefused."""
        if query.request_idx or not self._is_known:
            return await self._engine.ask(query)
        answer = await self._ask_with_others(query)
        if isinstance(answer, RouteAnswer):
            return answer
        if answer is not None:
            query.request_idx = answer.request_idx
        return await self._engine.ask(query)  # held there

    def _ask_with_others(self, query: RouteRequest) -> asyncio.Future[_Answer]:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[_Answer] = loop.create_future()
        self._asked.append((query, future))
        if len(self._asked) >= MOST_ROUTES:
            self._send()
        elif self._sending is None:
            self._sending = loop.call_later(GATHER_S, self._send) if self._calls else loop.call_soon(self._send)
        return future

    def _send(self) -> None:
        if self._sending is not None:
            self._sending.cancel()
            self._sending = None
        asked, self._asked = self._asked, []
        if len(asked) == 1:
            _give([None], asked)
        elif asked:
            call = asyncio.create_task(self._call(asked))
            self._calls.add(call)
            call.add_done_callback(self._calls.discard)

    async def _call(self, asked: list[_Asked]) -> None:
        """Whatever goes wrong here is told to each of them when it asks for itself."""
        answers: list[_Answer] = []
        try:
            answers = await self._engine.ask_many([query for query, _ in asked])
        except EngineRefused as error:
            self._is_known = error.answered_status not in _UNKNOWN
        except EngineUnreachable:
            pass
        finally:
            _give(answers or [None] * len(asked), asked)


def _give(answers: list[_Answer], asked: list[_Asked]) -> None:
    for answer, (_, future) in zip(answers, asked, strict=True):
        if not future.done():
            future.set_result(answer)
