"""A model's answer passed on by a handler by subclass: headers, pieces, and failures after the beginning."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from pyworker.answers import pass_on
from pyworker.testing import Behaviour, FakeServer, answer, drop, stream


async def passed(model: FakeServer, failure: bytes | None = None) -> tuple[int, str, bytes, int]:
    """Status, a header and body at the client; and the status in the books."""
    in_the_books: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def handle(request: web.Request) -> web.StreamResponse:
        async with aiohttp.ClientSession() as http, http.get(model.url) as response:
            passed_on = await pass_on(request, response, failure=failure)
        in_the_books.set_result(passed_on.status)
        return passed_on

    app = web.Application()
    app.router.add_get("/", handle)
    async with TestServer(app) as server, aiohttp.ClientSession() as http, http.get(server.make_url("/")) as response:
        return response.status, response.headers.get("X-Model", ""), await response.read(), await in_the_books


@pytest.mark.parametrize(
    ("behaviour", "expected"),
    [
        (answer("text", headers={"X-Model": "a"}), (200, "a", b"text", 200)),
        (answer("text", gzip=True), (200, "", b"text", 200)),
        (answer("no", status=422), (422, "", b"no", 422)),
        (stream(["one", "two"], headers={"X-Model": "a"}), (200, "a", b"onetwo", 200)),
    ],
)
async def test_status_headers_and_body_are_the_models(behaviour: Behaviour, expected: Any) -> None:
    async with FakeServer(default=behaviour) as model:
        assert await passed(model) == expected


@pytest.mark.parametrize("pieces", [['data:{"error":1}'], ["data:{", '"err', 'or":1}'], [*'data:{"error":1}']])
async def test_a_failure_in_mid_stream_is_in_the_books_however_it_comes(pieces: list[str]) -> None:
    async def slowly(request: Any) -> None:
        for piece in pieces:
            await request.send(piece)
            await asyncio.sleep(0.001)  # that they do not come together

    async with FakeServer(default=slowly) as model:
        assert await passed(model, b'data:{"error"') == (200, "", b'data:{"error":1}', 500)


async def test_what_is_no_failure_is_none() -> None:
    async with FakeServer(default=stream(['data:{"text":"data:{\\"error\\"}"}'])) as model:
        assert (await passed(model, b'data:{"error"'))[3] == 200


async def test_what_the_model_breaks_off_is_broken_off() -> None:
    async with FakeServer(default=drop(["half"])) as model:
        with pytest.raises(aiohttp.ClientPayloadError):
            await passed(model)
