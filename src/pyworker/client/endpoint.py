"""An endpoint as a client calls it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Final, Unpack

from pyworker.client.attempts import Answered
from pyworker.client.calling import Calling
from pyworker.client.hedging import Hedge, HedgeBudget
from pyworker.client.outgoing import Outgoing, SessionOptions
from pyworker.client.pursuit import Pursuit
from pyworker.client.racing import raced
from pyworker.client.requests import Requests
from pyworker.client.retry import Retry
from pyworker.client.session import Session, opened
from pyworker.errors import WorkerUnreachable

__all__ = ["DEFAULT_RETRY", "Endpoint"]

DEFAULT_RETRY: Final = Retry()


class Endpoint(Requests):
    """One endpoint, by its ``name``; get it from ``Client.endpoint``.

    A worker that is full, gone or not ready has not begun: then another one is asked, until the call's time is up.
    ``retry`` says how often a request goes again that may have been begun, ``hedge`` whether a slow one goes twice.
    """

    def __init__(
        self,
        name: str,
        calling: Calling,
        pursuit: Callable[[float | None], Pursuit],
        *,
        retry: Retry = DEFAULT_RETRY,
        hedge: Hedge | None = None,
    ) -> None:
        self.name = name
        self._calling = calling
        self._new_pursuit = pursuit
        self._retry = retry
        self._hedge = hedge
        self._budget = HedgeBudget(hedge.share if hedge else 0.0)

    def __repr__(self) -> str:
        return f"<Endpoint {self.name}>"

    @asynccontextmanager
    async def session(self, **options: Unpack[SessionOptions]) -> AsyncGenerator[Session, None]:
        """One worker for several requests, until the block ends. It ends, too, ``lifetime`` s after its last request.

        Raises AnsweredWithError, EngineUnreachable, EngineRefused, WorkerUnreachable, NoAnswerInTime.
        """
        session = await self.open_session(**options)
        try:
            yield session
        finally:
            await session.close()

    async def open_session(self, **options: Unpack[SessionOptions]) -> Session:
        """The same, to be closed by whoever opens it."""
        return await opened(self._calling, self._new_pursuit, self.name, options)

    def _pursuit(self, timeout_s: float | None) -> Pursuit:
        return self._new_pursuit(timeout_s)

    async def _first(self, pursuit: Pursuit, out: Outgoing, cost: float) -> Answered:
        begin = partial(self._calling.first, endpoint=self.name, cost=cost, out=out, retry=self._retry)
        if self._hedge is None:
            return await begin(pursuit)
        self._budget.asked()
        found = asyncio.Event()
        pursuit.on_found = found.set
        beside = self._new_pursuit(pursuit.left_s)
        beside.on_found = lambda: _require_another(beside, pursuit)
        return await raced(
            partial(begin, pursuit), partial(begin, beside), found, self._hedge.after_s, self._budget.take
        )


def _require_another(beside: Pursuit, pursuit: Pursuit) -> None:
    """End a hedge at the worker that has the request already."""
    if beside.worker_url == pursuit.worker_url:
        raise WorkerUnreachable("a hedge goes to another worker, and there was none")
