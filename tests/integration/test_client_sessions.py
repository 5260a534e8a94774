"""Sessions of the client, at a real worker."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from pyworker.client import Client, Endpoint
from pyworker.client.serverless import Serverless
from pyworker.errors import AnsweredWithError, NoAnswerInTime, SessionGone, WorkerUnreachable
from pyworker.testing import FakeRequest, answer, by_hand, stream
from pyworker.worker.core.gate import Mode
from tests.support.engines import API_KEY, a_fleet
from tests.support.workers.handlers import pass_generate, pass_stream, payload
from tests.support.workers.rig import Rig, a_worker, until


@asynccontextmanager
async def an_endpoint(tmp_path: Path, **settings: Any) -> AsyncGenerator[tuple[Endpoint, Rig]]:
    """With one worker, whose engine sends everybody there."""
    async with a_worker(tmp_path, pass_generate(), pass_stream(), mode=Mode.TICKET, **settings) as rig:

        async def route(request: FakeRequest) -> None:
            query = request.json()
            await request.answer(rig.engine.ticket(rig.url, endpoint=query["endpoint"], cost=query["cost"]))

        rig.engine.on("/route/", route)
        rig.model.on("/generate", answer({"response": "Hi"}))
        async with Client(rig.engine.url, "k", timeout_s=10.0) as client:
            yield await client.endpoint("hello"), rig


async def test_all_requests_of_a_session_go_to_its_worker_with_one_ticket(tmp_path: Path) -> None:
    async with an_endpoint(tmp_path) as (endpoint, rig):
        rig.model.on("/generate_stream", stream(["data: 1\n\n", "data: 2\n\n"]))
        async with endpoint.session(lifetime=30, cost=7) as session:
            assert session.worker_url == rig.url
            assert await session.is_open()
            for _ in range(3):
                assert (await session.request("/generate", payload())).json() == {"response": "Hi"}
            assert [event.data async for event in session.stream("/generate_stream", payload())] == ["1", "2"]
            assert await asyncio.gather(*(session.is_open() for _ in range(3))) == [True] * 3
        assert len([request for request in rig.engine.requests if request.path == "/route/"]) == 1


async def test_it_ends_with_its_block_and_the_model_is_told(tmp_path: Path) -> None:
    async with an_endpoint(tmp_path) as (endpoint, rig):
        async with endpoint.session(on_close_route="/generate", on_close_payload={"forget": True}) as session:
            pass
        closed = await rig.model.requests.where(lambda request: request.path == "/generate")
        assert closed.json() == {"forget": True, "session_id": session.id}
        with pytest.raises(SessionGone, match="this session was closed; open another one"):
            await session.request("/generate", payload())


async def test_it_ends_too_when_its_block_fails_or_is_cancelled(tmp_path: Path) -> None:
    async with an_endpoint(tmp_path) as (endpoint, rig):
        with pytest.raises(LookupError):
            async with endpoint.session():
                raise LookupError
        assert not list(rig.runtime.sessions.sessions.open)
        opened = asyncio.Event()

        async def hold() -> None:
            async with endpoint.session() as session:
                rig.model.on("/generate", by_hand)
                opened.set()
                await session.request("/generate", payload())

        holding = asyncio.create_task(hold())
        await opened.wait()
        request = await rig.model.requests.where(lambda request: request.path == "/generate")
        holding.cancel()
        await asyncio.wait_for(request.gone.wait(), 10)
        await until(lambda: rig.runtime.books.ledger.in_flight_count == 0)


async def test_one_that_the_worker_has_closed_says_so(tmp_path: Path) -> None:
    async with an_endpoint(tmp_path) as (endpoint, rig), endpoint.session() as session:
        (open_there,) = rig.runtime.sessions.sessions.open
        rig.runtime.sessions.end(open_there)
        for _ in range(2):
            with pytest.raises(SessionGone, match=r"has closed this session.*open another one"):
                await session.request("/generate", payload())
        assert not await session.is_open()


async def test_one_that_ends_while_it_works_cuts_off_its_requests(tmp_path: Path) -> None:
    async with an_endpoint(tmp_path) as (endpoint, rig), endpoint.session() as session:
        rig.model.on("/generate", by_hand)
        calling = asyncio.create_task(session.request("/generate", payload()))
        await rig.model.requests.where(lambda request: request.path == "/generate")
        await session.close()
        with pytest.raises((WorkerUnreachable, SessionGone)):
            await calling


async def test_a_worker_that_is_gone_takes_its_sessions_along_and_nothing_hangs() -> None:
    async with a_fleet() as (engine, fleet), Client(engine.url, API_KEY) as client:
        worker = await fleet.join()
        worker.on("/session/create", worker.checked(answer({"session_id": "s", "expiration": 0}, status=201)))
        endpoint = await client.endpoint("default")
        async with endpoint.session() as session:
            await worker.stop_listening()
            with pytest.raises(WorkerUnreachable, match=f"session's worker at {worker.url} does not accept"):
                await session.request("/generate", payload())


@pytest.mark.parametrize("body", [b"<html>", b"[]", b"{}"])
async def test_something_that_opens_no_session_is_told_as_such(body: bytes) -> None:
    async with a_fleet() as (engine, fleet), Client(engine.url, API_KEY) as client:
        worker = await fleet.join()
        worker.on("/session/create", answer(body, status=201))
        endpoint = await client.endpoint("default")
        with pytest.raises(AnsweredWithError, match="did not name it"):
            async with endpoint.session():
                pass


async def test_a_session_that_cannot_be_opened_says_why(tmp_path: Path) -> None:
    async with an_endpoint(tmp_path) as (endpoint, _):
        with pytest.raises(AnsweredWithError, match="opens no session, it answers 422"):
            async with endpoint.session(lifetime=-1):
                pass
        with pytest.raises(NoAnswerInTime):
            async with endpoint.session(timeout_s=0):
                pass


async def test_scripts_for_the_sdk_have_sessions_too(tmp_path: Path) -> None:
    async with an_endpoint(tmp_path) as (_, rig), Serverless("k", autoscaler_url=rig.engine.url) as client:
        listed = {"results": [{"endpoint_name": "hello", "id": 1, "api_key": "its-own", "user_id": 0}]}
        rig.engine.on("/api/v0/endptjobs/", answer({"success": True, **listed}))
        rig.model.on("/generate_stream", stream(['data: {"t": 1}\n\n']))
        endpoint = await client.get_endpoint("hello")
        async with await endpoint.session(cost=5, lifetime=30) as session:
            assert (session.url, await session.is_open()) == (rig.url, True)
            assert (await session.request("/generate", payload()))["response"] == {"response": "Hi"}
            streamed = await session.request("/generate_stream", payload(), stream=True)
            assert [event async for event in streamed["response"]] == [{"t": 1}]
        assert not await session.is_open()
        with pytest.raises(SessionGone):
            await session.request("/generate", payload())
