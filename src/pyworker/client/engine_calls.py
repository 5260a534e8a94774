"""What a client asks of the engine: a worker for its request, and the root of the workers' certificates."""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from typing import Final

import aiohttp

from pyworker.client.failures import is_passing, no_engine, not_an_engine, raise_closed, refused
from pyworker.errors import EngineRefused, EngineUnreachable, NotFound, PyWorkerError
from pyworker.net import tls_for_workers
from pyworker.wire import RouteAnswer, RouteRequest, WaitingAnswer, dump, parse_route_answer
from pyworker.wire_management import EndpointName, parse_list
from pyworker.wire_routes import RouteRequests, parse_route_answers

__all__ = ["EngineCalls"]

PATIENCE_S: Final = 15.0  # beyond the time that a call may be held


class EngineCalls:
    """The engine at ``url``; its root certificate lies at ``web_url``."""

    def __init__(self, http: aiohttp.ClientSession, url: str, web_url: str, api_key: str) -> None:
        self._http = http
        self._url = url
        self._web_url = web_url
        self._api_key = api_key
        self._tls: ssl.SSLContext | None = None
        self._was_there = False

    def require_key(self, api_key: str | None, endpoint: str) -> None:
        """Which keys are good only the engine knows: ``ask`` says so."""

    async def ask(self, query: RouteRequest) -> RouteAnswer | WaitingAnswer:
        """Ask ``/route/`` once. The query's own key, where there is one, goes before the client's.

        An engine that has answered before may be starting again: then this is a reason to wait. Raises
        EngineUnreachable, EngineRefused.
        """
        query.api_key = query.api_key or self._api_key
        try:
            answered = await self._ask(
                "POST", self._url + "/route/", dump(query), float(query.wait or 0) + PATIENCE_S, query.api_key
            )
        except (EngineUnreachable, EngineRefused) as error:
            if not (self._was_there and is_passing(error)):
                raise
            return WaitingAnswer(
                endpoint=query.endpoint, status=str(error), request_idx=query.request_idx or 0, request_uuid=""
            )
        self._was_there = True
        return self._read(answered)

    async def ask_many(self, queries: Sequence[RouteRequest]) -> list[RouteAnswer | WaitingAnswer | None]:
        """Ask ``/routes/``, with the client's key, for at most MOST_ROUTES; None for one that is to ask alone.

        Raises EngineUnreachable, EngineRefused; the latter with 404 or 405 from an engine that does not know it.
        """
        url, body = self._url + "/routes/", dump(RouteRequests(list(queries)))
        answered = await self._ask("POST", url, body, PATIENCE_S, self._api_key)
        try:
            return parse_route_answers(answered, len(queries))
        except PyWorkerError as error:
            raise not_an_engine(self._url, error) from None

    async def require_endpoint(self, name: str) -> None:
        """Raises NotFound when the account has no endpoint of that name, EngineUnreachable, EngineRefused.

        Nothing is known, and nothing raised, when the key opens ``/route/`` only.
        """
        url = f"{self._web_url}/api/v0/endptjobs/"
        try:
            answered = await self._ask("GET", url, None, PATIENCE_S, self._api_key)
        except EngineRefused:
            return
        try:
            names = parse_list(answered, EndpointName)
        except PyWorkerError as error:
            raise not_an_engine(self._web_url, error) from None
        if name not in {listed.endpoint_name for listed in names}:
            told = ", ".join(sorted(listed.endpoint_name for listed in names))
            raise NotFound(f"there is no endpoint {name!r}; there is {told or 'none'}")

    async def worker_tls(self) -> ssl.SSLContext:
        """What to check workers' certificates with. Raises EngineUnreachable, EngineRefused."""
        if self._tls is None:
            root_pem = await self._ask(
                "GET", f"{self._web_url}/static/jvastai_root.cer", None, PATIENCE_S, self._api_key
            )
            self._tls = tls_for_workers(root_pem)
        return self._tls

    def _read(self, answered: bytes) -> RouteAnswer | WaitingAnswer:
        try:
            return parse_route_answer(answered)
        except PyWorkerError as error:
            raise not_an_engine(self._url, error) from None

    async def _ask(self, method: str, url: str, body: bytes | None, patience_s: float, api_key: str) -> bytes:
        headers = {"Authorization": f"Bearer {api_key}", "Content-Type": "application/json"}
        timeout = aiohttp.ClientTimeout(total=patience_s)
        try:
            async with self._http.request(
                method, url, data=body, headers=headers, timeout=timeout, allow_redirects=False
            ) as response:
                answered = await response.read()
        except (aiohttp.ClientError, OSError) as error:
            raise no_engine(url, error) from None
        except RuntimeError:
            raise_closed(self._http)
            raise
        if response.status != 200:
            raise refused(response.status, answered, response.headers.get("Retry-After"))
        return answered
