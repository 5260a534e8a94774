"""Strangers with no key at an engine's port: what they send and keep open uses up nothing that others need."""

from __future__ import annotations

import asyncio
import contextlib
import resource
from collections.abc import AsyncIterator

import pytest
import yarl

from pyworker.connections import MOST, most_connections, raise_open_files_limit
from tests.support.engines import API_KEY, EngineUnderTest, a_fleet, an_engine
from tests.support.raw_client import RawClient, connected

pytestmark = [pytest.mark.uvloop_too, pytest.mark.limit_s(60)]

KEY = {"Authorization": f"Bearer {API_KEY}"}


def port_of(engine: EngineUnderTest) -> int:
    return yarl.URL(engine.url).port or 0


@contextlib.asynccontextmanager
async def many(engine: EngineUnderTest, count: int, *begun: str | bytes) -> AsyncIterator[list[RawClient]]:
    """So many connections that have sent this and nothing more."""
    async with contextlib.AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(connected(port_of(engine))) for _ in range(count)]
        for client in clients:
            with contextlib.suppress(ConnectionError):
                await client.send(*begun)
        yield clients


# --- heads ----------------------------------------------------------------------------------------


async def test_connections_that_ask_nothing_are_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pyworker.connections.FIRST_REQUEST_S", 0.05)
    async with an_engine() as engine, many(engine, 3, "POST /worker_status/ HTTP/1.1\r\nHost: e\r\n") as clients:
        assert await asyncio.gather(*(client.closed() for client in clients)) == [b""] * 3


async def test_whoever_has_asked_nothing_makes_room_for_those_who_come(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pyworker.connections.most_connections", lambda: 5)
    async with an_engine() as engine, many(engine, 12, "POST /worker_status/ HTTP/1.1\r\nHost: e\r\n") as clients:
        await asyncio.gather(*(client.closed() for client in clients[:7]))
        assert (await engine.get("/health"))[0] == 200
        await clients[7].closed()  # to make room for that one


async def test_with_as_many_connections_as_there_may_be_another_is_closed_until_one_goes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("pyworker.connections.most_connections", lambda: 3)
    ask = "GET /health HTTP/1.1\r\nHost: e\r\n\r\n"
    async with an_engine() as engine, many(engine, 3, ask) as clients:
        assert [(await client.answer()).status for client in clients] == [200] * 3
        async with connected(port_of(engine)) as another:
            assert await another.closed() == b""
        clients[0].leave()
        while True:
            async with connected(port_of(engine)) as another:
                with contextlib.suppress(EOFError, ConnectionError):
                    await another.send(ask)
                    assert (await another.answer()).status == 200
                    break


def test_there_may_be_as_many_connections_as_open_files_allow_which_are_as_many_as_possible() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
        assert most_connections() == (256 - 64) // 2
        raise_open_files_limit()
        files, still = resource.getrlimit(resource.RLIMIT_NOFILE)
        assert (files, still) == (65_536 if hard in {-1, resource.RLIM_INFINITY} else min(hard, 65_536), hard)
        assert 1 <= most_connections() <= MOST
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


# --- bodies ---------------------------------------------------------------------------------------


def head(path: str, length: int, *, key: str | None = None) -> str:
    lines = [f"POST {path} HTTP/1.1", "Host: e", "Content-Type: application/json", f"Content-Length: {length}"]
    return "\r\n".join([*lines, *([f"Authorization: Bearer {key}"] if key else []), "", ""])


async def test_a_question_for_a_worker_is_small() -> None:
    async with an_engine() as engine, connected(port_of(engine)) as client:
        await client.send(head("/route/", 4 * 1024 * 1024))
        answer = await client.answer()
        assert (answer.status, answer.json()["error"]) == (413, "body_too_large")


async def test_large_bodies_of_strangers_are_few_at_a_time_and_in_nobodys_way() -> None:
    budget, piece = 300_000, 100_000
    async with a_fleet(max_held_bytes=budget) as (engine, fleet):
        worker = await fleet.join()
        async with many(engine, 8, head("/worker_status/", 4 * piece), bytes(piece)) as clients:
            answered = [asyncio.create_task(client.answer()) for client in clients]
            done, waiting = await asyncio.wait(answered, return_when=asyncio.FIRST_COMPLETED)
            while len(waiting) * (piece - 16 * 1024) > budget:
                done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            assert {(task.result().status, "retry-after" in task.result().headers) for task in done} == {(413, True)}
            assert (await worker.report())[0] == 200
            assert "url" in await engine.route()
            large = {"endpoint_name": "large", "note": "x" * piece}
            assert (await engine.post("/api/v0/endptjobs/", large, headers=KEY))[0] == 200  # its key was good
            for task in waiting:
                task.cancel()


async def test_a_gateway_in_an_engine_checks_the_key_before_it_takes_a_body() -> None:
    async with an_engine() as engine:
        for path in ("/openai/default/v1/chat/completions", "/endpoints/default/generate"):
            async with connected(port_of(engine)) as client:
                await client.send(head(path, 64 * 1024 * 1024, key="wrong"))
                assert (await client.answer()).status == 401


async def test_a_compressed_body_is_read_and_a_bomb_is_not() -> None:
    import gzip  # noqa: PLC0415

    async with an_engine() as engine:
        for body, status in ((b'{"endpoint_name": "packed"}', 200), (b" " * 100_000_000, 413)):
            packed = await asyncio.to_thread(gzip.compress, body)
            async with engine.http.post(
                engine.url + "/api/v0/endptjobs/", data=packed, headers={**KEY, "Content-Encoding": "gzip"}
            ) as response:
                assert response.status == status
