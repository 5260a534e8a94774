"""A request on its way to a worker: with what it needs of the client it was made by."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import aiohttp

from pyworker.client.answer import Answer
from pyworker.client.attempts import Answered, Ask, find_worker, first_answer, sent
from pyworker.client.engine_calls import EngineCalls
from pyworker.client.outgoing import Outgoing
from pyworker.client.pursuit import Pursuit
from pyworker.client.retry import Retry
from pyworker.wire import RouteAnswer

__all__ = ["Calling", "Whole", "begun", "whole"]


@dataclass(frozen=True, slots=True)
class Calling:
    """Connections, and the engine; ``ask`` is how it is asked for a worker."""

    http: aiohttp.ClientSession
    engine: EngineCalls
    ask: Ask
    api_key: str

    async def first(self, pursuit: Pursuit, endpoint: str, cost: float, out: Outgoing, retry: Retry) -> Answered:
        """The first answer to a request. Raises EngineUnreachable, EngineRefused, WorkerUnreachable."""
        find = partial(find_worker, ask=self.ask, endpoint=endpoint, cost=cost, api_key=self.api_key)
        return await first_answer(pursuit, find, partial(self.send, out=out), retry)

    async def send(
        self, routed: RouteAnswer, out: Outgoing, session_id: str | None = None
    ) -> aiohttp.ClientResponse | None:
        """The worker's answer; None when it does not accept connections. Raises WorkerUnreachable."""
        body, headers = out.message(routed.auth_data(), session_id)
        tls = await self.engine.worker_tls() if routed.url.startswith("https:") else True
        url = routed.url.rstrip("/") + "/" + out.route.lstrip("/")
        return await sent(self.http, out.method, url, routed, data=body, headers=headers, ssl=tls)


@asynccontextmanager
async def begun(pursuit: Pursuit, first: Awaitable[Answered]) -> AsyncGenerator[Answer, None]:
    """An answer that begins before the deadline; leaving the block before its end stops the work.

    Raises what ``first`` does, and NoAnswerInTime.
    """
    try:
        async with asyncio.timeout(pursuit.left_s):
            answered = await first
    except TimeoutError:
        raise pursuit.overdue() from None
    try:
        yield Answer(answered.response, answered.routed.url, answered.routed.request_idx)
    finally:
        answered.response.close()


class Whole(NamedTuple):
    """An answer that was read to its end, when it began on the monotonic clock, and where it came from."""

    answer: Answer
    body: bytes
    first_byte_s: float
    routed: RouteAnswer


async def whole(pursuit: Pursuit, first: Awaitable[Answered]) -> Whole:
    """An answer that ends before the deadline. Raises what ``first`` does, WorkerUnreachable, and NoAnswerInTime."""
    try:
        async with asyncio.timeout(pursuit.left_s):
            response, routed = await first
            first_byte_s = time.monotonic()
            pursuit.reason = f"the answer of the worker at {routed.url} has begun and did not end"
            answer = Answer(response, routed.url, routed.request_idx)
            try:
                return Whole(answer, await answer.read(), first_byte_s, routed)
            finally:
                response.close()
    except TimeoutError:
        raise pursuit.overdue() from None
