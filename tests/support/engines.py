"""An engine in this process, on a real socket, and workers that are not more than their reports and tickets."""

from __future__ import annotations

import asyncio
import atexit
import base64
import functools
import itertools
import shutil
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

from pyworker.engine.app import running_engine
from pyworker.engine.data_directory import data_directory
from pyworker.engine.engine import EngineConfig, utc_now
from pyworker.errors import AuthenticationFailed
from pyworker.testing import Behaviour, FakeRequest, FakeServer
from pyworker.tickets import TicketKey, load_public_key, read_ticket, rsa_message, verify_rsa
from pyworker.wire import AuthData, TokenAnswer, parse, parse_auth_data

API_KEY = "account-key"


class EngineUnderTest:
    """An engine's url and its calls; each answers ``(status, decoded JSON)``."""

    def __init__(self, url: str, http: aiohttp.ClientSession) -> None:
        self.url = url
        self.http = http

    async def post(self, path: str, body: Any, **kwargs: Any) -> tuple[int, Any]:
        """POST JSON (bytes as they are)."""
        data = {"data": body} if isinstance(body, bytes) else {"json": body}
        async with self.http.post(self.url + path, **data, **kwargs) as response:
            return response.status, await response.json()

    async def get(self, path: str, **kwargs: Any) -> tuple[int, Any]:
        """GET."""
        async with self.http.get(self.url + path, **kwargs) as response:
            return response.status, await response.json()

    async def route(self, **fields: Any) -> dict[str, Any]:
        """Ask ``/route/`` with the account's key; the answer, which must be a 200."""
        status, answer = await self.post("/route/", {"endpoint": "default", "api_key": API_KEY, "cost": 100, **fields})
        assert status == 200, answer
        return answer

    async def token(self, **fields: Any) -> TokenAnswer:
        """Issue a worker's token."""
        body = {"endpoint": "default", "api_key": API_KEY, **fields}
        async with self.http.post(f"{self.url}/api/v0/worker_tokens/", json=body) as response:
            assert response.status == 200, await response.text()
            return parse(await response.read(), TokenAnswer)


@functools.cache
def _new_folder() -> Path:
    """What an engine's data directory holds after its first start; making the keys takes a while."""
    folder = Path(tempfile.mkdtemp(prefix="pyworker-test-engine-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    with data_directory(folder / "data", utc_now()):
        return folder / "data"


def a_folder(parent: Path | None = None) -> Path:
    """A data directory as an engine leaves it after its first start."""
    parent = parent or Path(tempfile.mkdtemp(prefix="pyworker-test-engine-"))
    return Path(shutil.copytree(_new_folder(), parent / "data"))


@asynccontextmanager
async def an_engine(folder: Path | None = None, **config: Any) -> AsyncIterator[EngineUnderTest]:
    """An engine with one endpoint, ``default``, on a free port; with the data directory of one before, if given."""
    its_folder = folder or await asyncio.to_thread(a_folder)
    config = {"port": 0, "endpoints": ("default",), **config}
    try:
        async with (
            running_engine(EngineConfig(API_KEY, **config), its_folder) as running,
            aiohttp.ClientSession() as http,
        ):
            yield EngineUnderTest(running.url, http)
    finally:
        if folder is None:
            await asyncio.to_thread(shutil.rmtree, its_folder.parent)


class ReportingWorker(FakeServer):
    """A worker that reports when the test says so, and lets requests in whose ticket or signature holds."""

    def __init__(self, engine: EngineUnderTest, token: TokenAnswer, worker_id: int) -> None:
        super().__init__()
        self.engine = engine
        self.id = worker_id
        self.mtoken = token.mtoken
        self.ticket_key = _ticket_key(token)

    async def report(self, *, state: str | None = "ready", **fields: Any) -> tuple[int, Any]:
        """Post a status; ready and idle, with a capacity of 100/s, unless fields say otherwise."""
        report = {"id": self.id, "mtoken": self.mtoken, "url": self.url, "loadtime": 1.5, "max_perf": 100.0, **fields}
        return await self.engine.post("/worker_status/", report if state is None else {**report, "state": state})

    async def finished(self, request_idx: int, status: str = "Success") -> tuple[int, Any]:
        """Post that a request has ended."""
        request = {"request_idx": request_idx, "success": status in {"Success", "Cancelled"}, "status": status}
        body = {"worker_id": self.id, "mtoken": self.mtoken, "requests": [request]}
        return await self.engine.post("/delete_requests/", body)

    def is_ours(self, answer: dict[str, Any]) -> bool:
        """Whether a ``/route/`` answer, or ``auth_data``, proves that the engine sent it here with a ticket."""
        if self.ticket_key is None:
            return False
        try:
            ticket = read_ticket(answer["signature"], auth_data(answer), {self.ticket_key.id: self.ticket_key})
        except AuthenticationFailed:
            return False
        return ticket.issued_s <= time.time() < ticket.expires_s

    async def is_signed(self, answer: dict[str, Any], scheme: Any = 4) -> bool:
        """The same for RSA signatures, with the key that the engine hands out."""
        async with self.engine.http.get(f"{self.engine.url}/pubkey/") as response:
            key = load_public_key(await response.read())
        return verify_rsa(key, answer["signature"], rsa_message(scheme, auth_data(answer)))

    def checked(self, behaviour: Behaviour) -> Behaviour:
        """A behaviour behind a check of the envelope's ticket: 401 without a good one."""

        async def behave(request: FakeRequest) -> None:
            if self.is_ours(request.json()["auth_data"]):
                await behaviour(request)
            else:
                await request.answer({"error": "not authentic"}, status=401)

        return behave


class Fleet:
    """Workers of one engine, numbered from 1."""

    def __init__(self, engine: EngineUnderTest) -> None:
        self._engine = engine
        self._ids = itertools.count(1)
        self._open = AsyncExitStack()

    async def join(self, *, report: dict[str, Any] | None = None, **token: Any) -> ReportingWorker:
        """A new worker, which has reported once: ready, unless ``report`` says otherwise."""
        worker = ReportingWorker(self._engine, await self._engine.token(**token), next(self._ids))
        await self._open.enter_async_context(worker)
        status, answer = await worker.report(**(report or {}))
        assert status == 200, answer
        return worker

    async def __aenter__(self) -> Fleet:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._open.aclose()


@asynccontextmanager
async def a_fleet(**config: Any) -> AsyncIterator[tuple[EngineUnderTest, Fleet]]:
    """An engine, and workers to join it."""
    async with an_engine(**config) as engine, Fleet(engine) as fleet:
        yield engine, fleet


def auth_data(answer: dict[str, Any]) -> AuthData:
    """The ``auth_data`` in a ``/route/`` answer."""
    return parse_auth_data(answer)


def _ticket_key(token: TokenAnswer) -> TicketKey | None:
    if token.ticket_key is None or token.ticket_key_id is None:
        return None
    padded = token.ticket_key + "=" * (-len(token.ticket_key) % 4)
    return TicketKey(token.ticket_key_id, base64.urlsafe_b64decode(padded))
