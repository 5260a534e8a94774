"""Engine, worker and client together: hello_world's worker in ticket mode, a process of its own before a model."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from pyworker.client import Client
from pyworker.testing import FakeModel, WorkerProcess, answer, stream
from pyworker.worker.serve import EXIT_UPDATE
from tests.support.commands import PYWORKER
from tests.support.engines import API_KEY, EngineUnderTest, an_engine
from tests.support.sdk import limit_s, needs_sdk, sdk_calls

pytestmark = limit_s

PAYLOAD = {"prompt": "Hello", "max_response_tokens": 5}
GENERATE = {"do": "request", "route": "/generate", "payload": PAYLOAD}
EVENTS = [{"token": "one"}, {"token": "two"}]


class Site:
    """An engine, and hello_world's workers, each with a model of its own."""

    def __init__(self, engine: EngineUnderTest, folder: Path, open_: AsyncExitStack) -> None:
        self.engine = engine
        self._folder = folder
        self._open = open_

    async def start_worker(self, worker_id: int) -> tuple[WorkerProcess, FakeModel]:
        """A worker that is on its way to ready."""
        log = self._folder / f"model-{worker_id}.log"
        model = await self._open.enter_async_context(FakeModel(log_path=log, health_path="/healthcheck"))
        model.log("infer server has started")
        model.on("/generate", answer({"response": "Hi"}))
        model.on("/generate_stream", stream([f"data: {_json(event)}\n\n" for event in EVENTS]))
        env = await self._place(worker_id) | {"MODEL_SERVER_URL": model.url, "MODEL_LOG": str(log)}
        return await self._start(env), model

    async def start_anew(self, ended: WorkerProcess) -> WorkerProcess:
        """What a start script does: the same worker, at the same port, with the same token."""
        return await self._start({**ended.env, "WORKER_PORT": str(ended.port)})

    async def _start(self, env: dict[str, str]) -> WorkerProcess:
        command = [*PYWORKER, "run", "workers/hello_world"]
        return await self._open.enter_async_context(WorkerProcess(command, env=env))

    async def _place(self, worker_id: int) -> dict[str, str]:
        token = await self.engine.token()
        assert token.ticket_key
        assert token.ticket_key_id
        return {
            "CONTAINER_ID": str(worker_id),
            "REPORT_ADDR": self.engine.url,
            "MASTER_TOKEN": token.mtoken,
            "PYWORKER_TICKET_KEY": token.ticket_key,
            "PYWORKER_TICKET_KEY_ID": token.ticket_key_id,
            "UNSECURED": "false",
            "PYWORKER_STATE_DIR": str(self._folder / str(worker_id)),
        }

    async def ask(self) -> str:
        """One call; the url of the worker that answered it well."""
        async with (
            Client(self.engine.url, API_KEY, timeout_s=60) as client,
            client.call("default", "/generate", PAYLOAD, cost=1) as got,
        ):
            assert (got.status, await got.json()) == (200, {"response": "Hi"})
            return got.worker_url


def _json(event: dict[str, str]) -> str:
    return f'{{"token": "{event["token"]}"}}'


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    async with _a_site(tmp_path) as made:
        yield made


@asynccontextmanager
async def _a_site(folder: Path) -> AsyncIterator[Site]:
    async with an_engine() as engine, AsyncExitStack() as open_:
        yield Site(engine, folder, open_)


@needs_sdk
async def test_the_sdks_client_gets_answers_streams_and_sessions_through_engine_and_worker(site: Site) -> None:
    worker, _ = await site.start_worker(7)
    calls: list[dict[str, Any]] = [
        GENERATE,
        {**GENERATE, "do": "stream", "route": "/generate_stream"},
        {**GENERATE, "do": "session"},
        {"do": "workers"},
    ]
    answered, streamed, session, workers = await sdk_calls(site.engine.url, API_KEY, "default", *calls)
    assert answered == {"status": 200, "response": {"response": "Hi"}, "url": worker.url}
    assert streamed == {"status": 200, "events": EVENTS}
    assert session == {"statuses": [200, 200], "was_open": True, "is_open": False}
    assert [(one["id"], one["status"]) for one in workers] == [(7, "IDLE")]


async def test_a_worker_that_is_killed_gets_no_more_requests(site: Site) -> None:
    first, _ = await site.start_worker(1)
    assert await site.ask() == first.url
    second, _ = await site.start_worker(2)
    await second.ready()
    first.kill()
    await first.ended()
    for _ in range(5):
        assert await site.ask() == second.url


async def test_a_worker_that_drains_finishes_what_it_has_and_gets_nothing_new(site: Site) -> None:
    first, model = await site.start_worker(1)
    assert await site.ask() == first.url
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def slowly(request: Any) -> None:
        begun.set()
        await go_on.wait()
        await request.answer({"response": "Hi"})

    model.on("/generate", slowly)
    asked = asyncio.create_task(site.ask())
    await begun.wait()
    second, _ = await site.start_worker(2)
    await second.ready()
    first.terminate()
    while await _state_of(site, 1) != "STOPPING":  # noqa: ASYNC110 - a client has nothing else to wait for either
        await asyncio.sleep(0.05)
    assert await site.ask() == second.url
    go_on.set()
    assert await asked == first.url
    assert await first.ended() == 0


async def _state_of(site: Site, worker_id: int) -> str:
    _, workers = await site.engine.post("/get_endpoint_workers/", {"id": 1, "api_key": API_KEY})
    return next((worker["status"] for worker in workers if worker["id"] == worker_id), "")


async def test_external_workers_are_updated_one_after_the_other_and_somebody_always_answers(site: Site) -> None:
    workers = [(await site.start_worker(number))[0] for number in (1, 2)]
    for worker in workers:
        await worker.ready()
    key = {"Authorization": f"Bearer {API_KEY}"}
    assert (await site.engine.post("/update_workers/", {"workergroup_id": 1}, headers=key))[0] == 200
    left = {asyncio.create_task(worker.ended()): worker for worker in workers}
    while left:
        done, _ = await asyncio.wait(left, return_when=asyncio.FIRST_COMPLETED)
        (ended,) = done  # one at a time
        first = left.pop(ended)
        assert ended.result() == EXIT_UPDATE
        assert await site.ask() != first.url
        await (await site.start_anew(first)).ready()
    group = await _group(site)
    while group["updating_from"]:
        await asyncio.sleep(0.05)
        group = await _group(site)
    assert group["version"] == 2
    _, logs = await site.engine.get("/api/v0/workers/1/logs/", headers=key)
    assert logs["logs"]["model.log"] == ["infer server has started"]


async def _group(site: Site) -> dict[str, Any]:
    _, shown = await site.engine.get("/api/v0/workergroups/1/", headers={"Authorization": f"Bearer {API_KEY}"})
    return shown["result"]
