"""An engine with its gateway, and workers in this process that pass everything through to models that do as told."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from pyworker.backend import Backend
from pyworker.handlers import PassThroughHandler
from pyworker.settings import WorkerSettings
from pyworker.testing import FakeModel
from pyworker.worker.core.readiness import State
from pyworker.worker.serve import RunningWorker, running_worker
from tests.support.engines import API_KEY, EngineUnderTest, an_engine
from tests.support.workers.rig import until

ROUTES = ("/v1/chat/completions", "/v1/audio/transcriptions", "/v1/models", "/generate", "/items/{name}")
METHODS = ("GET", "POST", "PUT", "DELETE")
KEY = {"Authorization": f"Bearer {API_KEY}"}


class Site:
    """``base`` is where a gateway answers; ``http`` a client without any key."""

    def __init__(self, engine: EngineUnderTest, folder: Path, open_: AsyncExitStack, base: str) -> None:
        self.engine = engine
        self.base = base
        self.http = engine.http
        self.workers: list[RunningWorker] = []
        self._folder = folder
        self._open = open_

    async def start_worker(self, *, max_concurrency: int | None = None) -> FakeModel:
        """A worker that is ready; gives its model."""
        number = len(self.workers) + 1
        model = await self._open.enter_async_context(FakeModel())
        token = await self.engine.token()
        env = {
            "WORKER_PORT": "0",
            "WORKER_HTTP_PORT": "0",
            "PUBLIC_IPADDR": "127.0.0.1",
            "CONTAINER_ID": str(number),
            "REPORT_ADDR": self.engine.url,
            "MASTER_TOKEN": token.mtoken,
            "PYWORKER_TICKET_KEY": token.ticket_key or "",
            "PYWORKER_TICKET_KEY_ID": token.ticket_key_id or "",
            "PYWORKER_STATE_DIR": str(self._folder / str(number)),
            "PYWORKER_REPORT_INTERVAL_S": "0.2",
        }
        backend = Backend(model.url, allow_parallel_requests=True, fixed_throughput=1e6, readiness="health")
        handlers = [
            PassThroughHandler(route, methods=METHODS, max_concurrency=max_concurrency, max_queue_time=30.0)
            for route in ROUTES
        ]
        settings = WorkerSettings.from_env({name: value for name, value in env.items() if value})
        worker = await self._open.enter_async_context(running_worker(backend, backend.routes(*handlers), settings))
        self.workers.append(worker)
        await until(lambda: worker.runtime.readiness.state is State.READY, "the worker is ready")
        return model

    def balanced(self) -> bool:
        """Whether nothing is in flight at any worker."""
        return all(worker.runtime.books.ledger.in_flight_count == 0 for worker in self.workers)


@asynccontextmanager
async def a_site(folder: Path) -> AsyncGenerator[Site]:
    """Without workers at first."""
    async with an_engine() as engine, AsyncExitStack() as open_:
        yield Site(engine, folder, open_, engine.url)
