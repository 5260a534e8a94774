"""How a request of a load test is sent: to an endpoint through its engine, or straight to a URL."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import aiohttp

from pyworker.client import Answer, Client
from pyworker.errors import EngineUnreachable, WorkerUnreachable
from pyworker.load.outcome import Outcome
from pyworker.load.payload import Payload
from pyworker.load.run import Clock, Send, take_answer
from pyworker.load.trace import Arrival
from pyworker.wire import dump

__all__ = ["to_endpoint", "to_url"]

_JSON: Final = "application/json"


def to_endpoint(
    client: Client, endpoint: str, route: str, payload: Payload, cost: Callable[[dict[str, Any]], float]
) -> Send:
    """Asks the engine for a worker for each request, as every client does; ``cost`` is a payload's claimed workload."""

    async def send(arrival: Arrival, outcome: Outcome, clock: Clock) -> None:
        sent = payload(arrival)
        async with client.call(endpoint, route, sent, cost=cost(sent)) as answer:
            await take_answer(answer, outcome, clock)

    return send


def to_url(http: aiohttp.ClientSession, url: str, payload: Payload, headers: Mapping[str, str]) -> Send:
    """Posts each request there: an OpenAI server, a gateway, a model server.

    A server that cannot be reached before it has answered anything ends the test: raises EngineUnreachable.
    """
    told = {"Content-Type": _JSON, **headers}

    async def send(arrival: Arrival, outcome: Outcome, clock: Clock) -> None:
        try:
            async with http.post(url, data=dump(payload(arrival)), headers=told, allow_redirects=False) as response:
                await take_answer(Answer(response, ""), outcome, clock)
        except aiohttp.ClientConnectorError as error:
            raise EngineUnreachable(f"nothing answers at {url}: {error.strerror or error}") from None
        except (aiohttp.ClientError, OSError) as error:
            raise WorkerUnreachable(f"{url} broke off: {error}") from None

    return send
