"""``Serverless``, as scripts for the SDK write it, over our client.

::

    async with Serverless(api_key=...) as client:
        endpoint = await client.get_endpoint(name="default")
        result = await endpoint.request("/generate", {"prompt": "Hello"}, cost=100)
        print(result["response"])
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Any, Final, NoReturn, Self

from pyworker.client.client import Client
from pyworker.client.instances import Instance, instance_of
from pyworker.client.management import list_endpoints
from pyworker.client.serverless_session import ServerlessSession, told
from pyworker.errors import BadRequest, NotFound
from pyworker.names import refuse_unknown
from pyworker.settings import environment

__all__ = ["Serverless", "ServerlessEndpoint"]

_IGNORED: Final = ("connection_limit", "debug", "max_poll_interval")
_KEYWORDS: Final = frozenset({"instance", "autoscaler_url", "webserver_url", "default_request_timeout", *_IGNORED})


class Serverless:
    """Endpoints of one account, to be used with ``async with``.

    Args:
        api_key: the account's; else PYWORKER_API_KEY or VAST_API_KEY says.
        keywords: ``autoscaler_url`` is the engine's address; without it PYWORKER_ENGINE says, and without that
            ``instance`` ("prod" when nothing is said). ``webserver_url`` is where endpoints are listed when not there,
            ``default_request_timeout`` in s. ``debug``, ``connection_limit`` and ``max_poll_interval`` are ignored.

    Raises BadRequest without a key.
    """

    def __init__(self, api_key: str | None = None, **keywords: Any) -> None:
        refuse_unknown("Serverless", keywords.keys() - _KEYWORDS, _KEYWORDS)
        env = environment()
        key = api_key or env.get("PYWORKER_API_KEY") or env.get("VAST_API_KEY")
        if not key:
            raise BadRequest("no API key: give Serverless(api_key=...), or set PYWORKER_API_KEY")
        self._api_key = key
        self._at = _instance(keywords, env)
        self._timeout_s = float(keywords.get("default_request_timeout") or 600.0)
        self._opened = AsyncExitStack()
        self._clients: dict[tuple[str, float], Client] = {}

    async def get_endpoints(self) -> list[ServerlessEndpoint]:
        """All that the account has. Raises EngineUnreachable, EngineRefused."""
        found = await asyncio.to_thread(list_endpoints, self._at.web_url, self._api_key)
        return [ServerlessEndpoint(self, one["endpoint_name"], one["id"], one.get("api_key", "")) for one in found]

    async def get_endpoint(self, name: str = "") -> ServerlessEndpoint:
        """The endpoint of that name. Raises NotFound, EngineUnreachable, EngineRefused."""
        endpoints = {endpoint.name: endpoint for endpoint in await self.get_endpoints()}
        if name not in endpoints:
            raise NotFound(f"Endpoint {name} could not be found; there is {', '.join(sorted(endpoints)) or 'none'}")
        return endpoints[name]

    async def close(self) -> None:
        """Close the connections."""
        await self._opened.aclose()

    async def client_of(self, endpoint: ServerlessEndpoint, timeout_s: float | None) -> Client:
        """Our client with the endpoint's key, made when it is first wanted."""
        key = self._api_key if self._at.is_ours else endpoint.api_key
        wanted = key, timeout_s or self._timeout_s
        if wanted not in self._clients:
            made = Client(self._at.engine_url, key, timeout_s=wanted[1], web_url=self._at.web_url)
            self._clients[wanted] = made
            await self._opened.enter_async_context(made)
        return self._clients[wanted]

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def __getattr__(self, name: str) -> NoReturn:
        raise _not_here("Serverless", name)


class ServerlessEndpoint:
    """One endpoint: its ``name``, ``id`` and own ``api_key``."""

    def __init__(self, serverless: Serverless, name: str, endpoint_id: int, api_key: str) -> None:
        self._serverless = serverless
        self.name = name
        self.id = endpoint_id
        self.api_key = api_key

    async def request(
        self,
        route: str,
        payload: Mapping[str, Any],
        *,
        cost: float = 100,
        timeout: float | None = None,  # noqa: ASYNC109 - the name that scripts write
        stream: bool = False,
        retry: bool = True,  # noqa: ARG002 - we ask again where nothing was begun, and never where it was
    ) -> dict[str, Any]:
        """Send a request to a worker: ``response, ok, status, text, content_type, latency`` (s), ``url, request_idx``.

        ``response`` is the answer's JSON, its text or its bytes; with ``stream`` an async iterator over its events,
        each one JSON. Raises EngineUnreachable, EngineRefused, WorkerUnreachable, NoAnswerInTime.
        """
        client = await self._serverless.client_of(self, timeout)
        return await told(client.call(self.name, route, payload, cost=cost), stream=stream)

    async def session(
        self,
        cost: float = 100,
        lifetime: float = 60,
        on_close_route: str | None = None,
        on_close_payload: Any = None,
        timeout: float | None = None,  # noqa: ASYNC109 - the name that scripts write
    ) -> ServerlessSession:
        """A session at one worker, to be used with ``async with``, or to be closed.

        Raises AnsweredWithError, EngineUnreachable, EngineRefused, WorkerUnreachable, NoAnswerInTime.
        """
        client = await self._serverless.client_of(self, timeout)
        endpoint = await client.endpoint(self.name)
        return ServerlessSession(
            await endpoint.open_session(
                cost=cost, lifetime=lifetime, on_close_route=on_close_route, on_close_payload=on_close_payload
            )
        )

    def __repr__(self) -> str:
        return f"<Endpoint {self.name} (id={self.id})>"

    def __getattr__(self, name: str) -> NoReturn:
        raise _not_here("its endpoints", name)


def _instance(keywords: Mapping[str, Any], env: Mapping[str, str]) -> Instance:
    at = instance_of(
        str(keywords.get("autoscaler_url") or env.get("PYWORKER_ENGINE") or keywords.get("instance") or "prod")
    )
    web_url = keywords.get("webserver_url")
    return at if web_url is None else Instance(at.engine_url, str(web_url).rstrip("/"), is_ours=at.is_ours)


def _not_here(what: str, name: str) -> AttributeError:
    return AttributeError(f"pyworker's Serverless is small, and {what} have no {name!r}: the package vastai has it")
