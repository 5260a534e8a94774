"""One of the repository's workers as a process, before a model server that is a process too, or in the test."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from pyworker.testing import FakeEngine, WorkerProcess
from pyworker.wire import dump_auth_header, parse_auth_data

START_S = 40.0


@dataclass
class WorkerRig:
    """The worker, its engine, and a client of it."""

    engine: FakeEngine
    process: WorkerProcess
    http: aiohttp.ClientSession

    def envelope(self, payload: Any) -> dict[str, Any]:
        """The body of a request."""
        return self.engine.envelope(self.engine.sign(self.process.url), payload)

    def header(self) -> dict[str, str]:
        """What a request without an envelope carries."""
        return {"X-Auth-Data": dump_auth_header(parse_auth_data(self.engine.sign(self.process.url)))}

    async def post(self, route: str, payload: Any) -> tuple[int, Any]:
        """Status and JSON of an answer."""
        async with self.http.post(route, json=self.envelope(payload)) as response:
            return response.status, await response.json()


@asynccontextmanager
async def model_process(module: str, words: str, *options: str) -> AsyncIterator[tuple[WorkerProcess, str]]:
    """A model server of this repository on a free port, and its address, which follows ``words`` in its output."""
    async with WorkerProcess(["-m", module, "--port", "0", *options]) as process:
        line = await process.output.where(lambda line: words in line, wait_s=START_S)
        yield process, line.rpartition(words)[2].split()[0]


@asynccontextmanager
async def ready_worker(
    module: str, model_url: str, *, loaded: tuple[Path, str], env: Mapping[str, str] | None = None
) -> AsyncIterator[WorkerRig]:
    """A worker that is ready for requests; ``loaded`` is the model's log and the line that makes it so."""
    log, line = loaded
    async with FakeEngine() as engine:
        its_env = {"MODEL_SERVER_URL": model_url, "MODEL_LOG": str(log), **(env or {})}
        process = WorkerProcess(["-m", module], engine=engine, env=its_env)
        async with process, aiohttp.ClientSession(process.url) as http:
            await process.answers()
            with log.open("a") as file:
                file.write(line + "\n")
            await process.ready()
            yield WorkerRig(engine, process, http)
