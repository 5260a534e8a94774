"""The model's answer as authors see it, a ClientResponse, and the session they call the model with."""

from __future__ import annotations

import asyncio
import gzip
import zlib
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest

from pyworker.errors import ModelFailed
from pyworker.testing import FakeModel, answer, by_hand, drop, stream
from pyworker.worker.model.connection import HIGH_WATER_BYTES
from pyworker.worker.model.response import ModelResponse, ResponseAnswer
from pyworker.worker.model.session import make_session
from pyworker.worker.model.upstream import ModelServer
from tests.support.raw_server import RawConnection, RawServer
from tests.support.workers.rig import until

pytestmark = [pytest.mark.uvloop_too, pytest.mark.limit_s(20)]


@pytest.fixture
async def model() -> AsyncIterator[FakeModel]:
    async with FakeModel() as model:
        yield model


@pytest.fixture
async def server(model: FakeModel) -> AsyncIterator[ModelServer]:
    server = ModelServer(model.url)
    yield server
    server.close()


async def asked(server: ModelServer, method: str = "POST", target: str = "/generate") -> ModelResponse:
    return ModelResponse(
        method, server.url(target), await server.send_for(ResponseAnswer, method, target, (), (b"{}",))
    )


@asynccontextmanager
async def asking_raw(raw_answer: bytes) -> AsyncGenerator[aiohttp.ClientResponse]:
    """The answer to one request, which is these bytes and the end of the connection."""

    async def serve(connection: RawConnection) -> None:
        await connection.request()
        await connection.send(raw_answer)

    async with RawServer(serve) as raw:
        server = ModelServer(raw.url)
        async with await asked(server) as response:
            yield response
        server.close()


# --- what authors read ----------------------------------------------------------------------------


async def test_it_is_a_client_response_with_all_that_authors_look_at(model: FakeModel, server: ModelServer) -> None:
    model.on("/generate", answer({"text": "hi"}, status=201, headers={"X-Tokens": "3", "Set-Cookie": "a=b"}))
    async with await asked(server) as response:
        assert isinstance(response, aiohttp.ClientResponse)
        assert (response.status, response.reason, response.ok) == (201, "Created", True)
        assert (response.method, str(response.url)) == ("POST", f"{model.url}/generate")
        assert (response.content_type, response.headers["x-tokens"]) == ("application/json", "3")
        assert response.cookies["a"].value == "b"
        assert response.content_length == len(b'{"text":"hi"}')
        assert await response.json() == {"text": "hi"}
        assert await response.text() == '{"text":"hi"}'  # read once, kept
        assert await response.read() == b'{"text":"hi"}'
    response.raise_for_status()


async def test_an_error_can_be_raised(model: FakeModel, server: ModelServer) -> None:
    model.on("/generate", answer("no", status=503))
    async with await asked(server) as response:
        assert not response.ok
        with pytest.raises(aiohttp.ClientResponseError) as raised:
            response.raise_for_status()
        assert raised.value.status == 503


async def test_text_is_decoded_by_its_charset(model: FakeModel, server: ModelServer) -> None:
    model.on("/generate", answer("grün".encode("latin-1"), headers={"Content-Type": "text/plain; charset=latin-1"}))
    async with await asked(server) as response:
        assert await response.text() == "grün"


async def lines_of(content: aiohttp.StreamReader) -> list[bytes]:
    lines: list[bytes] = []
    while line := await content.readline():
        lines.append(line)
    return lines


async def test_a_stream_is_read_in_every_way_aiohttp_has(model: FakeModel, server: ModelServer) -> None:
    model.on("/generate", stream(["data: one\n", "data: two\n"]))
    async with await asked(server) as response:
        assert b"".join([piece async for piece in response.content.iter_any()]) == b"data: one\ndata: two\n"
    async with await asked(server) as response:
        pieces = [piece async for piece in response.content.iter_chunked(4)]
        assert max(map(len, pieces)) <= 4
        assert b"".join(pieces) == b"data: one\ndata: two\n"
    async with await asked(server) as response:
        assert [line async for line in response.content] == [b"data: one\n", b"data: two\n"]
    async with await asked(server) as response:
        assert await lines_of(response.content) == [b"data: one\n", b"data: two\n"]
        assert response.content.at_eof()
    async with await asked(server) as response:
        assert b"".join([piece async for piece, _ in response.content.iter_chunks()]) == b"data: one\ndata: two\n"


async def test_a_piece_is_there_as_soon_as_it_came(model: FakeModel, server: ModelServer) -> None:
    model.on("/generate", by_hand)
    asking = asyncio.create_task(asked(server))
    request = await model.requests.next()
    await request.start()
    async with await asking as response:
        for piece in ("one", "two"):
            await request.send(piece)
            assert await response.content.readany() == piece.encode()
        await request.end()
        assert await response.content.readany() == b""


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "identity"])
async def test_a_compressed_answer_is_decoded(model: FakeModel, server: ModelServer, encoding: str) -> None:
    text = b"a text " * 1000
    encode: dict[str, Any] = {"gzip": gzip.compress, "deflate": zlib.compress, "identity": bytes}
    model.on("/generate", answer(encode[encoding](text), headers={"Content-Encoding": encoding}))
    async with await asked(server) as response:
        assert await response.read() == text


async def test_the_answer_to_head_has_no_body(server: ModelServer) -> None:
    async with await asked(server, "HEAD") as response:
        assert response.headers["Content-Length"]
        assert await response.read() == b""


# --- when it breaks -------------------------------------------------------------------------------


async def test_an_answer_that_breaks_off_is_a_payload_error(model: FakeModel, server: ModelServer) -> None:
    model.on("/generate", drop(["one"]))
    async with await asked(server) as response:
        with pytest.raises(aiohttp.ClientPayloadError):
            await response.read()


@pytest.mark.parametrize(
    "raw",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nnot a size\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 9\r\n\r\nnot gzip!",
    ],
)
async def test_so_is_one_that_is_no_good(raw: bytes) -> None:
    async with asking_raw(raw) as response:
        with pytest.raises(aiohttp.ClientPayloadError):
            await response.read()


async def test_a_compressed_answer_that_is_cut_off_is_one_too() -> None:
    half = gzip.compress(bytes(range(256)) * 100)[:-20]
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(half)
    async with asking_raw(head + half) as response:
        with pytest.raises(aiohttp.ClientPayloadError):
            await response.read()


async def test_without_any_answer_the_model_has_failed(model: FakeModel, server: ModelServer) -> None:
    model.on("/generate", drop())
    with pytest.raises(ModelFailed):
        await asked(server)


# --- its connection -------------------------------------------------------------------------------


async def test_a_connection_whose_answer_was_read_is_used_again(model: FakeModel, server: ModelServer) -> None:
    for _ in range(3):
        async with await asked(server) as response:
            await response.json()
    assert [request.nth for request in model.requests] == [1, 2, 3]


async def test_leaving_in_mid_answer_ends_the_models_work(model: FakeModel, server: ModelServer) -> None:
    model.on("/generate", by_hand)
    asking = asyncio.create_task(asked(server))
    request = await model.requests.next()
    await request.send("one")
    async with await asking as response:
        assert await response.content.readany() == b"one"
    await request.gone.wait()


async def test_an_author_may_close_it_himself(server: ModelServer) -> None:
    async with await asked(server) as response:
        await response.read()
        response.release()
        response.close()
    async with await asked(server) as response:
        assert response.status == 200


@pytest.mark.parametrize("size_bytes", [HIGH_WATER_BYTES // 4 + 10, HIGH_WATER_BYTES + 10, 8 * HIGH_WATER_BYTES])
async def test_an_answer_that_an_author_did_not_read_stops_nothing(
    model: FakeModel, server: ModelServer, size_bytes: int
) -> None:
    model.on("/generate", answer(bytes(size_bytes)), answer(b"ok"))
    async with await asked(server) as response:
        assert response.status == 200
        await asyncio.sleep(0.05)  # let all of it come that will
    async with await asked(server) as response:
        assert await response.read() == b"ok"


async def test_a_slow_author_slows_a_fast_model_down(model: FakeModel, server: ModelServer) -> None:
    size_bytes = 24 * 1024 * 1024
    model.on("/generate", by_hand)
    asking = asyncio.create_task(asked(server))
    request = await model.requests.next()
    await request.start()

    async def flood() -> None:
        for _ in range(size_bytes // 65536):
            await request.send(bytes(65536))
        await request.end()

    flooding = asyncio.create_task(flood())
    async with await asking as response:
        before = -1
        while request.sent_bytes != before:
            before = request.sent_bytes
            await asyncio.sleep(0.1)
        assert before < size_bytes
        total = 0
        async for piece in response.content.iter_any():
            assert len(piece) < 2 * HIGH_WATER_BYTES + 65536
            total += len(piece)
        assert total == size_bytes
    await flooding


# --- the author's own session ---------------------------------------------------------------------


async def test_relative_paths_are_the_models(model: FakeModel) -> None:
    async with make_session(model.url + "/base") as session:
        async with session.get("health") as response:
            assert response.status == 200
        async with session.get(f"{model.url}/absolute") as response:
            assert response.status == 200
    assert [request.path for request in model.requests] == ["/base/health", "/absolute"]


async def test_the_guides_path_with_a_slash_works(model: FakeModel) -> None:
    async with make_session(model.url) as session, session.get("/healthcheck") as response:
        assert response.status == 200
    assert model.requests[0].path == "/healthcheck"


async def test_it_has_no_limit_on_connections_and_keeps_no_cookies(model: FakeModel) -> None:
    model.on("/wait", by_hand)
    model.on("/cookie", answer(b"", headers={"Set-Cookie": "a=b"}))
    async with make_session(model.url) as session:
        waiting = [asyncio.create_task(session.get("/wait")) for _ in range(120)]
        for request in await model.requests.at_least(120):
            await request.answer(b"ok")
        for response in await asyncio.gather(*waiting):
            response.release()
        for _ in range(2):
            async with session.get("/cookie") as response:
                await response.read()
    assert "Cookie" not in model.requests[-1].headers
    await until(lambda: not model.open_connections, "its connections are closed")
