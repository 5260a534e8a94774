"""A worker in the test's own process, between a fake model and a fake engine, and a client that calls it."""

from __future__ import annotations

import asyncio
import dataclasses
import io
import itertools
import json
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web
from multidict import CIMultiDictProxy

from pyworker import HandlerConfig, Worker, WorkerConfig
from pyworker.backend import Backend, Handler
from pyworker.settings import WorkerSettings
from pyworker.testing import FakeEngine, FakeModel
from pyworker.worker.core.gate import Mode
from pyworker.worker.core.ledger import Outcome
from pyworker.worker.core.readiness import State
from pyworker.worker.runtime import Runtime
from pyworker.worker.serve import RunningWorker, running_worker
from tests.support.workers.handlers import Generate

__all__ = ["MTOKEN", "WORKER_ID", "Answered", "Rig", "a_declared_worker", "a_worker", "until"]

MTOKEN = "the-instances-own-secret"
WORKER_ID = 4711
REPORT_INTERVAL_S = 0.02
LOOK_AGAIN_S = 0.002
UNMEASURED = 1e9  # workload/s: nobody waits because of it


async def until(condition: Callable[[], object], what: str = "", *, wait_s: float = 10.0) -> None:
    """Wait until a condition in this process holds. Raises TimeoutError saying what was waited for."""
    try:
        async with asyncio.timeout(wait_s):
            while not condition():  # noqa: ASYNC110 - state has no event of its own
                await asyncio.sleep(LOOK_AGAIN_S)
    except TimeoutError:
        raise TimeoutError(f"waited {wait_s:g} s until {what or condition}") from None


@dataclasses.dataclass(frozen=True)
class Answered:
    """An answer, read to its end."""

    status: int
    headers: CIMultiDictProxy[str]
    body: bytes

    def json(self) -> Any:
        """The body, decoded."""
        return json.loads(self.body)


class Rig:
    """What a test needs of a worker, the model before it, its engine and a client."""

    def __init__(
        self, model: FakeModel, engine: FakeEngine, worker: RunningWorker, http: aiohttp.ClientSession
    ) -> None:
        self.model = model
        self.engine = engine
        self.worker = worker
        self.http = http
        self._numbers = itertools.count(1)

    @property
    def url(self) -> str:
        """The worker's, as the engine signs it."""
        return self.worker.url

    @property
    def runtime(self) -> Runtime:
        """Its parts."""
        return self.worker.runtime

    # --- calling it ---

    def auth(self, **claims: Any) -> dict[str, Any]:
        """The ``auth_data`` of one request, proved as this worker wants it proved."""
        if self.runtime.gate.mode is Mode.TICKET:
            return self.engine.ticket(self.url, **claims)
        if self.runtime.gate.mode is Mode.SIGNATURE:
            return self.engine.sign(self.url, **claims)
        number = next(self._numbers)
        unproved = {"cost": 100.0, "endpoint": "e", "reqnum": number, "request_idx": number, "signature": ""}
        return {**unproved, "url": self.url, **claims}

    def envelope(
        self, payload: Any, *, auth: dict[str, Any] | None = None, session_id: str | None = None
    ) -> dict[str, Any]:
        """The body of a request."""
        return self.engine.envelope(self.auth() if auth is None else auth, payload, session_id=session_id)

    async def post(
        self,
        path: str,
        payload: Any,
        *,
        auth: dict[str, Any] | None = None,
        session_id: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> Answered:
        """Send an envelope and read the whole answer."""
        body = json.dumps(self.envelope(payload, auth=auth, session_id=session_id)).encode()
        head = {"Content-Type": "application/json", **(headers or {})}
        return await self.send("POST", path, data=io.BytesIO(body), headers=head)

    async def send(self, method: str, path: str, **kwargs: Any) -> Answered:
        """Send anything and read the whole answer."""
        async with self.http.request(method, self.url + path, **kwargs) as response:
            return Answered(response.status, response.headers, await response.read())

    def begin(self, path: str, payload: Any, **kwargs: Any) -> asyncio.Task[Answered]:
        """Send an envelope; the answer is for later. Cancelling the task is the client going away."""
        return asyncio.create_task(self.post(path, payload, **kwargs))

    async def open(self, path: str, payload: Any, **kwargs: Any) -> aiohttp.ClientResponse:
        """Send an envelope; returns at the head of the answer. Closing it is the client going away."""
        return await self.http.post(self.url + path, json=self.envelope(payload, **kwargs))

    async def websocket(
        self, path: str, *, auth: dict[str, Any] | None = None, session_id: str | None = None, **kwargs: Any
    ) -> aiohttp.ClientWebSocketResponse:
        """Open one; raises aiohttp.WSServerHandshakeError when it is refused."""
        proof = self.engine.proof(self.auth() if auth is None else auth, session_id=session_id)
        options: dict[str, Any] = {"headers": {"X-Auth-Data": proof}, "max_msg_size": 0, **kwargs}
        return await self.http.ws_connect(self.url + path, **options)

    # --- its state ---

    async def ready(self) -> None:
        """Wait until it takes requests."""
        await self.state(State.READY)

    async def state(self, state: State) -> None:
        """Wait until it is in this state."""
        readiness = self.runtime.readiness
        await until(lambda: readiness.state is state, f"the worker is {state.value}; it is {readiness.state.value}")

    async def log_read(self, text: str) -> None:
        """Wait until it has read a line of the model's log that contains ``text``."""
        page: list[str] = []
        while not any(text in line for line in page):
            page = (await self.send("GET", "/pyworker/logs")).body.decode().splitlines()

    async def settled(self, **requests: int) -> None:
        """Wait until nothing is in flight; then the books balance and hold exactly so many requests by outcome."""
        ledger = self.runtime.books.ledger
        total = sum(requests.values())
        await until(
            lambda: ledger.received.requests >= total and not ledger.in_flight_count, f"{total} settled; {ledger!r}"
        )
        assert ledger.imbalance() == 0
        counted = {outcome.name.lower(): ledger.settled[outcome].requests for outcome in Outcome}
        assert {name: count for name, count in counted.items() if count} == requests


@asynccontextmanager
async def a_worker(
    tmp_path: Path,
    *handlers: Handler,
    mode: Mode = Mode.OFF,
    model: FakeModel | None = None,
    engine: FakeEngine | None = None,
    routes: Callable[[Backend], Iterable[web.RouteDef]] = lambda _backend: (),
    settings: dict[str, Any] | None = None,
    base_path: str = "",
    wait: bool = True,
    **backend: Any,
) -> AsyncGenerator[Rig]:
    """A worker with these handlers (one for ``/generate`` if none), ready unless ``wait`` is False.

    It is not benchmarked unless ``backend`` has a ``benchmark_handler``. ``model`` and ``engine`` are entered already;
    without them it gets new ones. ``base_path`` is where the model's API begins.
    """
    async with AsyncExitStack() as stack:
        model = model or await stack.enter_async_context(FakeModel())
        engine = engine or await stack.enter_async_context(FakeEngine(mtoken=MTOKEN))
        given: dict[str, Any] = {"allow_parallel_requests": True, **backend}
        if "benchmark_handler" not in given:
            given.setdefault("fixed_throughput", UNMEASURED)
        if model.log_path is not None:
            given.setdefault("model_log_file", str(model.log_path))
        made = Backend(model.url + base_path, **given)
        mounted = [*made.routes(*(handlers or (Generate(),))), *routes(made)]
        yield await _serve(stack, made, mounted, model, engine, _settings(tmp_path, mode, engine, settings or {}), wait)


@asynccontextmanager
async def a_declared_worker(
    tmp_path: Path,
    *handlers: HandlerConfig,
    mode: Mode = Mode.OFF,
    model: FakeModel | None = None,
    settings: dict[str, Any] | None = None,
    wait: bool = True,
    change: Callable[[Worker], None] = lambda _worker: None,
    **config: Any,
) -> AsyncGenerator[Rig]:
    """A worker by declaration, ready unless ``wait`` is False. It is not benchmarked unless a handler says so.

    ``change`` is what its author does with the Worker before it runs.
    """
    async with AsyncExitStack() as stack:
        model = model or await stack.enter_async_context(FakeModel())
        engine = await stack.enter_async_context(FakeEngine(mtoken=MTOKEN))
        given: dict[str, Any] = {"model_server_url": model.url, "handlers": list(handlers), **config}
        if not any(handler.benchmark_config for handler in handlers) and "benchmark_data" not in given:
            given.setdefault("fixed_throughput", UNMEASURED)
        if model.log_path is not None:
            given.setdefault("model_log_file", str(model.log_path))
        made = Worker(WorkerConfig(**given))
        change(made)
        place = _settings(tmp_path, mode, engine, settings or {})
        yield await _serve(stack, made.backend, made.routes, model, engine, place, wait)


async def _serve(
    stack: AsyncExitStack,
    backend: Backend,
    routes: Iterable[web.AbstractRouteDef],
    model: FakeModel,
    engine: FakeEngine,
    settings: WorkerSettings,
    wait: bool,
) -> Rig:
    http = await stack.enter_async_context(
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), auto_decompress=False)
    )
    worker = await stack.enter_async_context(running_worker(backend, routes, settings))
    rig = Rig(model, engine, worker, http)
    if wait:
        await rig.ready()
        if rig.runtime.gate.mode is Mode.SIGNATURE:
            await until(lambda: rig.runtime.gate.public_key, "the engine's key is known")
    return rig


def _settings(tmp_path: Path, mode: Mode, engine: FakeEngine, given: dict[str, Any]) -> WorkerSettings:
    place: dict[str, Any] = {
        "host": "127.0.0.1",
        "port": 0,
        "http_port": 0,
        "worker_id": WORKER_ID,
        "report_addrs": (engine.url,),
        "mtoken": MTOKEN,
        "unsecured": mode is Mode.OFF,
        "ticket_keys": (engine.ticket_key,) if mode is Mode.TICKET else (),
        "state_dir": tmp_path / "state",
        "report_interval_s": REPORT_INTERVAL_S,
        "drain_s": 0.05,
    }
    return WorkerSettings(**{**place, **given})
