"""What a client asks of the engine: a worker for its request, and the root of the workers' certificates."""

from __future__ import annotations

import asyncio
import ssl
import time
from typing import Final

import aiohttp

from pyworker.client.failures import is_passing, no_engine, not_an_engine, refused
from pyworker.client.pursuit import Pursuit
from pyworker.errors import EngineRefused, EngineUnreachable, PyWorkerError
from pyworker.wire import RouteAnswer, RouteRequest, WaitingAnswer, dump, parse_route_answer

__all__ = ["EngineCalls"]

HOLD_S: Final = 20.0  # how long the engine may hold a call of /route/
FIRST_HOLD_S: Final = 2.0  # at first, so that who waits soon knows why
PATIENCE_S: Final = 15.0  # beyond that
REPLAY_S: Final = 60.0


class EngineCalls:
    """The engine at ``url``; its root certificate lies at ``web_url``."""

    def __init__(self, http: aiohttp.ClientSession, url: str, web_url: str, api_key: str) -> None:
        self._http = http
        self._url = url
        self._web_url = web_url
        self._api_key = api_key
        self._tls: ssl.SSLContext | None = None
        self._was_there = False

    async def route(self, pursuit: Pursuit, endpoint: str, cost: float) -> RouteAnswer:
        """A worker for this request; waits until there is one.

        An engine that has answered before may be starting again: it is asked until it is back. Raises
        EngineUnreachable, EngineRefused.
        """
        while True:
            asked_s = time.monotonic()
            longest_s = HOLD_S if pursuit.request_idx else FIRST_HOLD_S
            hold_s = max(0.0, min(longest_s, pursuit.left_s - 0.5))
            query = RouteRequest(endpoint, self._api_key, cost, pursuit.request_idx, REPLAY_S, hold_s)
            try:
                answered = await self._post("/route/", dump(query), hold_s + PATIENCE_S)
            except (EngineUnreachable, EngineRefused) as error:
                if not (self._was_there and is_passing(error)):
                    raise
                pursuit.met(str(error))
                await asyncio.sleep(pursuit.next_poll_s())
                continue
            self._was_there = True
            routed = self._read(answered)
            pursuit.request_idx = routed.request_idx or pursuit.request_idx
            if isinstance(routed, RouteAnswer):
                return routed
            pursuit.met(_why(routed))
            if time.monotonic() - asked_s < max(hold_s, 1.0):  # this engine does not hold calls
                await asyncio.sleep(pursuit.next_poll_s())

    async def worker_tls(self) -> ssl.SSLContext:
        """What to check workers' certificates with. Raises EngineUnreachable, EngineRefused."""
        if self._tls is None:
            root_pem = await self._ask("GET", f"{self._web_url}/static/jvastai_root.cer", None, PATIENCE_S)
            self._tls = ssl.create_default_context(cadata=root_pem.decode(errors="replace"))
            # Roots in the field lack keyCertSign, which OpenSSL 3 refuses when strict.
            self._tls.verify_flags &= ~ssl.VERIFY_X509_STRICT
        return self._tls

    def _read(self, answered: bytes) -> RouteAnswer | WaitingAnswer:
        try:
            return parse_route_answer(answered)
        except PyWorkerError as error:
            raise not_an_engine(self._url, error) from None

    async def _post(self, path: str, body: bytes, patience_s: float) -> bytes:
        return await self._ask("POST", self._url + path, body, patience_s)

    async def _ask(self, method: str, url: str, body: bytes | None, patience_s: float) -> bytes:
        headers = {"Authorization": f"Bearer {self._api_key}", "Content-Type": "application/json"}
        timeout = aiohttp.ClientTimeout(total=patience_s)
        try:
            async with self._http.request(
                method, url, data=body, headers=headers, timeout=timeout, allow_redirects=False
            ) as response:
                answered = await response.read()
        except (aiohttp.ClientError, OSError) as error:
            raise no_engine(url, error) from None
        if response.status != 200:
            raise refused(response.status, answered)
        return answered


def _why(waiting: WaitingAnswer) -> str:
    """Why there is no worker yet, in words."""
    if isinstance(waiting.status, str):
        return waiting.status or "no worker yet"
    words = {"IDLE": "busy"}  # the state of a worker that is ready, which here means: with too much to do already
    counts = {words.get(state, state): count for state, count in waiting.status.items()}
    if waiting.benchmarking:
        counts["MODEL_LOADING"] = counts.get("MODEL_LOADING", 0) - waiting.benchmarking
        counts["benchmarking"] = waiting.benchmarking
    told = (f"{count} {state}" for state, count in counts.items() if count > 0)
    return f"no worker is free ({', '.join(told)})"
