"""A large body is in memory once, and no longer than it is needed: without waiting for the garbage collector."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import tracemalloc
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from pyworker.handlers import PassThroughHandler
from pyworker.testing import FakeModel, FakeRequest
from tests.support.raw_client import RawClient, connected
from tests.support.workers.handlers import Generate, GenerateStream, payload
from tests.support.workers.rig import Rig, a_worker, until

pytestmark = [pytest.mark.uvloop_too, pytest.mark.limit_s(60)]

SIZE_BYTES = 4 * 1024 * 1024
PIECE_BYTES = 64 * 1024
ALMOST_NOTHING = 0.25  # bodies: buffers of sockets, on both sides
MOST_AT_ONCE = {
    # the body, and half of it twice while room is made
    ("passed through", "uvloop"): 1.75,
    # asyncio's transport copies what it could not send at once
    ("passed through", "asyncio"): 2.5,
    # as text and as JSON again
    ("authored", "uvloop"): 3.0,
    ("authored", "asyncio"): 4.0,
}

Ending = Callable[[Rig, RawClient, bytes], Awaitable[None]]


@pytest.fixture(params=["authored", "passed through"])
def way(request: pytest.FixtureRequest) -> str:
    """Which server reads the request: aiohttp's, or the fast lane."""
    return request.param


@pytest.fixture(autouse=True)
def _traced() -> Iterator[None]:
    """Memory is traced, and what stays in circles stays."""
    gc.collect()
    gc.disable()
    tracemalloc.start()
    yield
    tracemalloc.stop()
    gc.enable()


class Bodies:
    """Memory that is in use, in bodies, less what was in use at first."""

    def __init__(self) -> None:
        self._first_bytes, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()

    @property
    def now(self) -> float:
        """How many there are."""
        return (tracemalloc.get_traced_memory()[0] - self._first_bytes) / SIZE_BYTES

    @property
    def most(self) -> float:
        """How many there were at once."""
        return (tracemalloc.get_traced_memory()[1] - self._first_bytes) / SIZE_BYTES


@asynccontextmanager
async def worker(tmp_path: Path, way: str, **given: Any) -> AsyncGenerator[Rig]:
    """Before a model that keeps nothing of what it reads."""
    authored = Generate(), GenerateStream()
    passed = PassThroughHandler("/generate"), PassThroughHandler("/generate_stream")
    handlers = authored if way == "authored" else passed
    async with FakeModel(read_bodies=False) as model, a_worker(tmp_path, *handlers, model=model, **given) as rig:
        model.on("/generate", served_by_model)
        async with connected(rig.worker.port) as client:  # what is made once is made now
            await post(client, written(rig, 100))
            assert (await client.answer()).status == 200
        yield rig


async def swallow(request: FakeRequest) -> None:
    while await request.read_some():
        request.body = b""


async def served_by_model(request: FakeRequest) -> None:
    await swallow(request)
    await request.answer({"text": "ok"})


def written(rig: Rig, size_bytes: int = SIZE_BYTES, path: str = "/generate") -> bytes:
    """A whole request."""
    body = json.dumps(rig.envelope(payload("x" * size_bytes))).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: w\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


async def post(client: RawClient, request: bytes) -> None:
    for at in range(0, len(request), PIECE_BYTES):
        await client.send(request[at : at + PIECE_BYTES])


async def test_a_large_body_is_in_memory_once(tmp_path: Path, way: str) -> None:
    loop = "uvloop" if "uvloop" in type(asyncio.get_running_loop()).__module__ else "asyncio"
    async with worker(tmp_path, way) as rig, connected(rig.worker.port) as client:
        request = written(rig)
        for _ in range(3):
            bodies = Bodies()
            await post(client, request)
            assert (await client.answer()).status == 200
            assert bodies.most < MOST_AT_ONCE[way, loop]


async def test_it_is_let_go_when_the_answer_begins(tmp_path: Path, way: str) -> None:
    async def slowly(request: FakeRequest) -> None:
        await swallow(request)
        await request.send_event("first")
        await request.ended.wait()

    async with worker(tmp_path, way) as rig, connected(rig.worker.port) as client:
        rig.model.on("/generate_stream", slowly)
        request = written(rig, path="/generate_stream")
        bodies = Bodies()
        await post(client, request)
        asked = await rig.model.requests.where(lambda one: one.path == "/generate_stream")
        await client.begin()
        await until(lambda: bodies.now < ALMOST_NOTHING, "it is let go")
        await asked.end()


# --- however it ends ------------------------------------------------------------------------------


async def served(_rig: Rig, client: RawClient, request: bytes) -> None:
    await post(client, request)
    assert (await client.answer()).status == 200


async def refused(_rig: Rig, client: RawClient, request: bytes) -> None:
    await post(client, request.replace(b'"url"', b'"lru"'))
    assert (await client.answer()).status == 422


async def gone_in_the_middle(rig: Rig, client: RawClient, request: bytes) -> None:
    await post(client, request[: SIZE_BYTES * 3 // 4])
    await until(lambda: rig.runtime.proxy.entrance.intake.held_bytes > SIZE_BYTES // 2, "most of it is held")
    client.leave()


async def gone_while_the_model_works(rig: Rig, client: RawClient, request: bytes) -> None:
    async def work(request: FakeRequest) -> None:
        await swallow(request)
        await request.ended.wait()

    rig.model.on("/generate", work)
    await post(client, request)
    await rig.model.requests.at_least(2)
    client.leave()


async def gone_while_it_is_sent(rig: Rig, client: RawClient, request: bytes) -> None:
    async def work(request: FakeRequest) -> None:
        await request.ended.wait()

    rig.model.on("/generate", work)
    await post(client, request)
    await rig.model.requests.at_least(2)
    client.leave()


async def dropped_by_the_model(rig: Rig, client: RawClient, request: bytes) -> None:
    async def drop(request: FakeRequest) -> None:
        await swallow(request)
        request.drop()

    rig.model.on("/generate", drop)
    await post(client, request)
    assert (await client.answer()).status == 502


async def broken_off_by_the_model(rig: Rig, client: RawClient, request: bytes) -> None:
    async def drop(request: FakeRequest) -> None:
        await swallow(request)
        await request.start(headers={"Content-Length": "1000"})
        await request.send(b"x")
        request.drop()

    rig.model.on("/generate", drop)
    await post(client, request)
    with contextlib.suppress(EOFError):  # the head of the answer may have gone out
        assert (await client.answer()).status == 502


async def no_model(rig: Rig, client: RawClient, request: bytes) -> None:
    await rig.model.stop_listening()
    await post(client, request)
    assert (await client.answer()).status in {502, 503}


@pytest.mark.parametrize(
    "ending",
    [
        served,
        refused,
        gone_in_the_middle,
        gone_while_the_model_works,
        gone_while_it_is_sent,
        dropped_by_the_model,
        broken_off_by_the_model,
        no_model,
    ],
)
async def test_nothing_of_it_stays(tmp_path: Path, way: str, ending: Ending) -> None:
    async with worker(tmp_path, way) as rig:
        request = written(rig)
        bodies = Bodies()
        async with connected(rig.worker.port) as client:
            await ending(rig, client, request)
        await until(lambda: bodies.now < ALMOST_NOTHING, "it is let go")
