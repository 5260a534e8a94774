"""A request on its way to a worker: with what it needs of the client it was made by."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import aiohttp

from pyworker.client.attempts import Answered, Ask, find_worker, first_answer, sent
from pyworker.client.engine_calls import EngineCalls
from pyworker.client.outgoing import Outgoing
from pyworker.client.pursuit import Pursuit
from pyworker.client.retry import Retry
from pyworker.wire import RouteAnswer

__all__ = ["Calling"]


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
