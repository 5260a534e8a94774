"""A log that nobody reads: the worker serves on and ends when it is asked to, in a real process with a small pipe."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
from collections.abc import AsyncGenerator
from pathlib import Path

import aiohttp
import pytest

from pyworker.testing import FakeEngine, FakeModel, WorkerProcess

ROOT = Path(__file__).parents[2]
PIPE_BYTES = 4096
TALKATIVE = """
import logging
import os

from aiohttp import web

from pyworker import Backend, start_server

backend = Backend(os.environ["MODEL_SERVER_URL"], fixed_throughput=1e9)


async def talk(_):
    for number in range(100):
        logging.getLogger("pyworker.worker").warning("line %d of many", number)
    return web.Response(text="said")


if __name__ == "__main__":
    start_server(backend, [web.get("/talk", talk)])
"""


@contextlib.asynccontextmanager
async def a_small_pipe() -> AsyncGenerator[int]:
    """Where to write to one that nobody reads and that is full after PIPE_BYTES."""
    if not hasattr(fcntl, "F_SETPIPE_SZ"):
        pytest.skip("this system has no pipes of a given size")
    reading, writing = os.pipe()
    try:
        fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        yield writing
    finally:
        os.close(reading)
        os.close(writing)


@pytest.mark.parametrize("log_format", ["text", "json"])
async def test_a_log_that_nobody_reads_stops_neither_requests_nor_the_end(tmp_path: Path, log_format: str) -> None:
    worker = tmp_path / "worker.py"
    worker.write_text(TALKATIVE)
    async with FakeModel() as model, FakeEngine(mtoken="the-mtoken") as engine, a_small_pipe() as writing:
        env = {"MODEL_SERVER_URL": model.url, "LOG_FORMAT": log_format}
        place = WorkerProcess([str(worker)], engine=engine, env=env)
        process = await asyncio.create_subprocess_exec(
            *place.command, env={**os.environ, **place.env}, cwd=ROOT, stderr=writing
        )
        try:
            await ready(place.url)
            async with aiohttp.ClientSession(place.url) as http:
                for _ in range(10):
                    async with http.get("/talk") as response:
                        assert response.status == 200
            process.terminate()
            assert await process.wait() == 0
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()


async def ready(url: str) -> None:
    """Wait until the worker takes requests."""
    async with aiohttp.ClientSession(url) as http:
        while True:
            with contextlib.suppress(aiohttp.ClientConnectionError):
                async with http.get("/pyworker/health") as response:
                    if response.status == 200:
                        return
            await asyncio.sleep(0.05)
