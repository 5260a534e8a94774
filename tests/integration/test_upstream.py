"""HTTP to the model server: what it may answer, how connections are kept, and what happens when they break."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager

import pytest

from pyworker.errors import ModelFailed, ModelUnreachable
from pyworker.testing import FakeModel, FakeRequest, answer, by_hand, drop, drop_if_reused, free_port
from pyworker.worker.model.connection import HIGH_WATER_BYTES, Answer, Body
from pyworker.worker.model.upstream import ModelServer
from tests.support.raw_server import RawConnection, RawServer
from tests.support.workers.rig import until

pytestmark = [pytest.mark.uvloop_too, pytest.mark.limit_s(15)]

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
ONE_READ_BYTES = 256 * 1024  # what both event loops read at once


@pytest.fixture
async def model() -> AsyncIterator[FakeModel]:
    async with FakeModel() as model:
        yield model


@asynccontextmanager
async def calling(url: str) -> AsyncGenerator[ModelServer]:
    server = ModelServer(url)
    try:
        yield server
    finally:
        server.close()


@asynccontextmanager
async def calling_raw(
    serve: Callable[[RawConnection], Awaitable[None]],
) -> AsyncGenerator[tuple[ModelServer, RawServer]]:
    async with RawServer(serve) as raw, calling(raw.url) as server:
        yield server, raw


def answering(*answers: bytes) -> Callable[[RawConnection], Awaitable[None]]:
    """Each connection answers its requests with these bytes, one after the other, and then closes."""

    async def serve(connection: RawConnection) -> None:
        for raw in answers:
            if not await connection.request():
                return
            await connection.send(raw)

    return serve


async def ask(server: ModelServer, method: str = "POST", target: str = "/generate", body: Body = (b"{}",)) -> bytes:
    """The whole body of the answer."""
    async with await server.send(method, target, (), body) as reply:
        return await reply.read()


async def in_pieces(*pieces: bytes) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


# --- what is sent ---------------------------------------------------------------------------------


async def test_a_request_arrives_as_it_was_sent(model: FakeModel) -> None:
    body = (b"abc", memoryview(b"def"))
    async with (
        calling(model.url + "/base") as server,
        await server.send("POST", "/generate?a=1", [(b"X-Mine", b"1")], body) as got,
    ):
        assert (got.status, got.reason) == (200, "OK")
        assert await got.read() == b'{"text":"hello"}'
    (request,) = model.requests
    assert (request.method, str(request.url), request.body) == ("POST", "/base/generate?a=1", b"abcdef")
    assert (request.headers["X-Mine"], request.headers["Content-Length"]) == ("1", "6")
    assert request.headers["Host"] == model.url.removeprefix("http://")


@pytest.mark.parametrize(
    ("method", "headers", "length"),
    [
        ("GET", [], None),
        ("HEAD", [], None),
        ("POST", [], "0"),
        ("DELETE", [], "0"),
        ("POST", [(b"Content-Length", b"0")], "0"),
        ("GET", [(b"content-length", b"0")], "0"),
    ],
)
async def test_a_request_without_a_body_says_so_at_most_once(
    model: FakeModel, method: str, headers: list[tuple[bytes, bytes]], length: str | None
) -> None:
    async with calling(model.url) as server, await server.send(method, "/", headers) as got:
        await got.read()
    assert model.requests[0].headers.getall("Content-Length", []) == ([] if length is None else [length])


async def test_a_body_given_as_a_stream_goes_chunked_and_keeps_no_connection(model: FakeModel) -> None:
    async with calling(model.url) as server:
        await ask(server, body=in_pieces(b"one", b"two"))
        await ask(server)
    assert model.requests[0].headers["Transfer-Encoding"] == "chunked"
    assert model.requests[0].body == b"onetwo"
    assert model.requests[1].connection == 2


async def test_a_stream_whose_length_is_known_goes_as_it_is(model: FakeModel) -> None:
    async with (
        calling(model.url) as server,
        await server.send("PUT", "/", [(b"Content-Length", b"6")], in_pieces(b"one", b"two")) as got,
    ):
        await got.read()
    assert "Transfer-Encoding" not in model.requests[0].headers
    assert model.requests[0].body == b"onetwo"


async def test_a_large_body_goes_through(model: FakeModel) -> None:
    body = bytes(range(256)) * 4096 * 8
    async with calling(model.url) as server:
        await ask(server, body=(b"head", memoryview(body)))
    assert model.requests[0].body == b"head" + body


# --- what may be answered -------------------------------------------------------------------------


async def test_a_stream_comes_piece_by_piece(model: FakeModel) -> None:
    model.on("/generate", by_hand)
    async with calling(model.url) as server:
        sending = asyncio.create_task(server.send("POST", "/generate", (), (b"{}",)))
        request = await model.requests.next()
        await request.start()
        async with await sending as got:
            for piece in ("one", "two"):
                await request.send(piece)
                assert await got.next_piece() == piece.encode()
            await request.end()
            assert await got.next_piece() == b""


async def test_an_answer_may_come_byte_by_byte() -> None:
    async def serve(connection: RawConnection) -> None:
        await connection.request()
        for byte in b"HTTP/1.1 200 All good\r\nX-A: b c\r\nContent-Length: 2\r\n\r\nok":
            await connection.send(bytes([byte]))
            await asyncio.sleep(0)

    async with calling_raw(serve) as (server, _), await server.send("POST", "/", (), ()) as got:
        assert got.headers == [(b"X-A", b"b c"), (b"Content-Length", b"2")]
        assert (got.status, await got.read()) == (200, b"ok")


async def test_a_body_may_end_with_its_connection() -> None:
    plain = b"HTTP/1.1 200 OK\r\n\r\nall there is"
    async with calling_raw(answering(plain, plain)) as (server, raw):
        # the first connection would answer a second time; it is not asked
        async with await server.send("POST", "/", (), ()) as got:
            assert await got.next_piece() == b"all there is"
        assert len(raw.connections) == 1
    async with calling_raw(answering(plain)) as (server, raw):
        assert [await ask(server), await ask(server)] == [b"all there is"] * 2
        assert len(raw.connections) == 2


async def test_http_1_0_is_understood() -> None:
    async with calling_raw(answering(b"HTTP/1.0 200 OK\r\n\r\nold")) as (server, raw):
        assert [await ask(server), await ask(server)] == [b"old", b"old"]
        assert len(raw.connections) == 2


async def test_the_answer_to_head_has_a_length_and_no_body() -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 1234\r\n\r\n"
    async with calling_raw(answering(head)) as (server, _):
        async with await server.send("HEAD", "/", ()) as got:
            assert got.headers == [(b"Content-Length", b"1234")]
            assert await got.read() == b""
        assert await ask(server, "HEAD", body=()) == b""


@pytest.mark.parametrize("status", [b"204 No Content", b"304 Not Modified"])
async def test_some_answers_have_no_body_and_keep_the_connection(status: bytes) -> None:
    async with calling_raw(answering(b"HTTP/1.1 " + status + b"\r\nETag: x\r\n\r\n", OK)) as (server, raw):
        assert [await ask(server), await ask(server)] == [b"", b"ok"]
        assert len(raw.connections) == 1


async def test_what_comes_before_the_answer_is_skipped() -> None:
    interim = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\nContent-Length: 7\r\n\r\n"
    async with calling_raw(answering(interim + OK, interim + b"HTTP/1.1 200 OK\r\n\r\nclosed")) as (server, raw):
        async with await server.send("POST", "/", (), ()) as got:
            assert (got.status, got.reason, got.headers) == (200, "OK", [(b"Content-Length", b"2")])
            assert await got.read() == b"ok"
        assert await ask(server) == b"closed"  # the length that came before is not this answer's
        assert len(raw.connections) == 1


async def test_trailers_are_dropped() -> None:
    chunked = (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n"
        b"3\r\none\r\n3;ext=1\r\ntwo\r\n0\r\nX-Sum: 1\r\n\r\n"
    )
    async with calling_raw(answering(chunked, OK)) as (server, raw):
        async with await server.send("POST", "/", (), ()) as got:
            assert await got.read() == b"onetwo"
            assert [name for name, _ in got.headers] == [b"Transfer-Encoding", b"Trailer"]
        assert await ask(server) == b"ok"
        assert len(raw.connections) == 1


@pytest.mark.parametrize("status", [400, 404, 500, 503])
async def test_the_models_own_errors_are_answers(model: FakeModel, status: int) -> None:
    model.on("/generate", answer({"error": "no"}, status=status))
    async with calling(model.url) as server, await server.send("POST", "/generate", (), ()) as got:
        assert (got.status, await got.read()) == (status, b'{"error":"no"}')


# --- keeping connections --------------------------------------------------------------------------


async def test_a_connection_is_used_again(model: FakeModel) -> None:
    async with calling(model.url) as server:
        for _ in range(3):
            await ask(server)
    assert [(request.connection, request.nth) for request in model.requests] == [(1, 1), (1, 2), (1, 3)]


async def test_requests_at_the_same_time_have_a_connection_each(model: FakeModel) -> None:
    model.on("/generate", by_hand)
    async with calling(model.url) as server:
        asking = [asyncio.create_task(ask(server)) for _ in range(120)]
        for request in await model.requests.at_least(120):
            await request.answer(b"ok")
        assert set(await asyncio.gather(*asking)) == {b"ok"}
        assert len({request.connection for request in model.requests}) == 120


@pytest.mark.parametrize("header", [b"Connection: close", b"Keep-Alive: timeout=1", b"Keep-Alive: max=5, timeout=0"])
async def test_a_connection_that_the_model_does_not_keep_is_not_used_again(header: bytes) -> None:
    leaves = OK.replace(b"\r\n\r\n", b"\r\n" + header + b"\r\n\r\n")
    async with calling_raw(answering(leaves, OK)) as (server, raw):
        assert [await ask(server), await ask(server)] == [b"ok", b"ok"]
        assert len(raw.connections) == 2


async def test_what_one_answer_says_of_keeping_does_not_hold_for_another_connection() -> None:
    leaves = OK.replace(b"\r\n\r\n", b"\r\nKeep-Alive: timeout=1\r\n\r\n")
    answers = itertools.chain([leaves], itertools.repeat(OK))

    async def serve(connection: RawConnection) -> None:
        while await connection.request():
            await connection.send(next(answers))

    async with calling_raw(serve) as (server, raw):
        for _ in range(3):
            await ask(server)
        assert len(raw.connections) == 2


async def test_a_connection_that_was_closed_while_idle_is_not_used(model: FakeModel) -> None:
    async with calling(model.url) as server:
        await ask(server)
        assert model.close_idle() == 1
        await until(lambda: not model.open_connections, "it is closed")
        await asyncio.sleep(0)
        await ask(server)
    assert [request.nth for request in model.requests] == [1, 1]


async def test_bytes_that_nobody_asked_for_end_an_idle_connection() -> None:
    async def serve(connection: RawConnection) -> None:
        await connection.request()
        await connection.send(OK)
        if connection.number == 1:
            await asyncio.sleep(0)
            await connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison")
        await connection.closed_by_peer()
        gone.set()

    gone = asyncio.Event()
    async with calling_raw(serve) as (server, raw):
        assert await ask(server) == b"ok"
        await gone.wait()
        assert await ask(server) == b"ok"
        assert len(raw.connections) == 2


@pytest.mark.parametrize(
    "surplus", [b"?", b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison", b"HTTP/1.1 200 OK\r\n\r\n", b"\r\n\r\nx"]
)
async def test_what_follows_an_answer_is_not_taken_for_a_part_of_it(surplus: bytes) -> None:
    async with calling_raw(answering(OK + surplus, OK)) as (server, raw):
        assert [await ask(server), await ask(server)] == [b"ok", b"ok"]
        assert len(raw.connections) == 2


async def test_an_idle_connection_is_closed_in_time(model: FakeModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pyworker.worker.model.upstream.IDLE_S", 0.05)
    monkeypatch.setattr("pyworker.worker.model.connection.IDLE_S", 0.05)
    async with calling(model.url) as server:
        await asyncio.gather(ask(server), ask(server))
        assert model.open_connections == 2
        await until(lambda: not model.open_connections, "they are closed")


async def test_closing_closes_idle_connections(model: FakeModel) -> None:
    async with calling(model.url) as server:
        await ask(server)
    await until(lambda: not model.open_connections, "it is closed")


# --- one safe retry -------------------------------------------------------------------------------


async def test_a_kept_connection_that_closes_at_the_moment_of_its_use_is_replaced(model: FakeModel) -> None:
    model.on("/generate", drop_if_reused(answer(b"ok")))
    async with calling(model.url) as server:
        assert [await ask(server) for _ in range(4)] == [b"ok"] * 4
    assert [request.nth for request in model.requests] == [1, 2, 1, 2, 1, 2, 1]


async def test_so_is_one_that_is_reset(model: FakeModel) -> None:
    async with calling(model.url) as server:
        await ask(server)
        model.on("/generate", drop(reset=True), answer(b"ok"))
        assert await ask(server) == b"ok"


async def test_it_is_replaced_once(model: FakeModel) -> None:
    async with calling(model.url) as server:
        await ask(server)
        model.on("/generate", drop())
        with pytest.raises(ModelFailed, match="without an answer"):
            await ask(server)
    assert [request.nth for request in model.requests] == [1, 2, 1]


async def test_when_the_model_has_gone_meanwhile_it_is_unreachable(model: FakeModel) -> None:
    async def drop_and_go(_request: FakeRequest) -> None:
        await model.stop_listening()

    async with calling(model.url) as server:
        await ask(server)
        model.on("/generate", drop_and_go)
        with pytest.raises(ModelUnreachable):
            await ask(server)


async def test_a_new_connection_that_closes_is_not_tried_again(model: FakeModel) -> None:
    model.on("/generate", drop())
    async with calling(model.url) as server:
        with pytest.raises(ModelFailed, match="without an answer"):
            await ask(server)
    assert len(model.requests) == 1


async def test_a_request_whose_answer_had_begun_is_not_sent_again() -> None:
    async with calling_raw(answering(OK, b"HTTP/1.1 2")) as (server, raw):
        assert await ask(server) == b"ok"
        with pytest.raises(ModelFailed):
            await ask(server)
        assert len(raw.connections) == 1


async def test_a_streamed_body_is_not_sent_again(model: FakeModel) -> None:
    async with calling(model.url) as server:
        await ask(server)
        model.on("/generate", drop())
        with pytest.raises(ModelFailed):
            await ask(server, body=in_pieces(b"once"))
    assert len(model.requests) == 2


# --- when it breaks -------------------------------------------------------------------------------


async def test_a_closed_port_is_unreachable() -> None:
    async with calling(f"http://127.0.0.1:{free_port()}") as server:
        with pytest.raises(ModelUnreachable, match="does not accept connections: Connect"):
            await ask(server)
        with pytest.raises(ModelUnreachable):
            await server.accepts_connections()


async def test_an_open_port_accepts_connections(model: FakeModel) -> None:
    async with calling(model.url) as server:
        await server.accepts_connections()
    await until(lambda: not model.open_connections, "it is closed again")


@pytest.mark.parametrize(
    ("head", "end"),
    [
        (b"Content-Length: 100\r\n\r\n", "close"),
        (b"Content-Length: 100\r\n\r\n", "reset"),
        (b"Transfer-Encoding: chunked\r\n\r\n", "close"),
        (b"Transfer-Encoding: chunked\r\n\r\n", "reset"),
        (b"\r\n", "reset"),
    ],
)
async def test_a_model_that_dies_in_mid_answer_is_no_end_of_it(head: bytes, end: str) -> None:
    async def serve(connection: RawConnection) -> None:
        await connection.request()
        chunk = b"5\r\nhello\r\n" if b"chunked" in head else b"hello"
        await connection.send(b"HTTP/1.1 200 OK\r\n" + head + chunk)
        await go_on.wait()
        if end == "reset":
            await hard_reset(connection)

    go_on = asyncio.Event()
    async with calling_raw(serve) as (server, _), await server.send("POST", "/", (), ()) as got:
        assert await got.next_piece() == b"hello"
        go_on.set()
        with pytest.raises(ModelFailed):
            await got.next_piece()
        with pytest.raises(ModelFailed):
            await got.read()


async def hard_reset(connection: RawConnection) -> None:
    sock = connection.writer.transport.get_extra_info("socket")
    sock.setsockopt(1, 13, b"\1\0\0\0\0\0\0\0")  # SOL_SOCKET, SO_LINGER: on, 0 s
    connection.reset()


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x16\x03\x01\x02\x00",
        b"SSH-2.0-OpenSSH_9.7\r\n",
        b"HTTP/1.1 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok!",
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    ],
)
async def test_what_is_not_http_is_a_failure(garbage: bytes) -> None:
    async with calling_raw(answering(garbage)) as (server, raw):
        with pytest.raises(ModelFailed):
            await ask(server)
        await raw.connections[0].closed_by_peer()


async def test_a_chunk_that_is_none_breaks_the_answer_off() -> None:
    bad = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\nnot a size\r\n"
    async with calling_raw(answering(bad)) as (server, _), await server.send("POST", "/", (), ()) as got:
        with pytest.raises(ModelFailed, match="not HTTP"):
            await got.read()


async def test_leaving_before_the_end_ends_the_models_work(model: FakeModel) -> None:
    model.on("/generate", by_hand)
    async with calling(model.url) as server:
        sending = asyncio.create_task(server.send("POST", "/generate", (), ()))
        request = await model.requests.next()
        await request.send("first")
        async with await sending as got:
            assert await got.next_piece() == b"first"
        await request.gone.wait()
        model.on("/generate")
        await ask(server)
    assert model.requests[1].connection == 2


async def test_being_cancelled_before_the_answer_ends_the_models_work(model: FakeModel) -> None:
    model.on("/generate", by_hand)
    async with calling(model.url) as server:
        sending = asyncio.create_task(server.send("POST", "/generate", (), ()))
        request = await model.requests.next()
        sending.cancel()
        await request.gone.wait()
        await until(lambda: not model.open_connections, "it is closed")


# --- backpressure ---------------------------------------------------------------------------------


async def stalled(connection: RawConnection) -> int:
    """Wait until nothing goes out any more; how much has gone out by then."""
    before = -1
    while connection.sent_bytes != before:
        before = connection.sent_bytes
        await asyncio.sleep(0.1)
    return before


def flooding(size_bytes: int, head: bytes) -> Callable[[RawConnection], Awaitable[None]]:
    async def serve(connection: RawConnection) -> None:
        await connection.request()
        await connection.send(b"HTTP/1.1 200 OK\r\n" + head)
        left, piece = size_bytes, bytes(32 * 1024)
        while left:
            part = piece[:left]
            await connection.send(b"%x\r\n%b\r\n" % (len(part), part) if b"chunked" in head else part)
            left -= len(part)
        if b"chunked" in head:
            await connection.send(b"0\r\n\r\n")
        if b"\r\n\r\n" in head:
            await connection.closed_by_peer()

    return serve


@pytest.mark.parametrize("head", [b"Content-Length: 25165824\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n", b"\r\n"])
async def test_a_slow_reader_slows_a_fast_model_down(head: bytes) -> None:
    size_bytes = 24 * 1024 * 1024
    async with calling_raw(flooding(size_bytes, head)) as (server, raw), await server.send("POST", "/", (), ()) as got:
        assert await stalled(raw.connections[0]) < size_bytes  # what is not here is in the kernel's buffers
        first = got.read_nowait()
        assert 0 < len(first) <= HIGH_WATER_BYTES + ONE_READ_BYTES
        assert len(first) + len(await got.read()) == size_bytes


async def test_a_body_that_nobody_read_does_not_keep_its_connection_from_reading() -> None:
    size_bytes = HIGH_WATER_BYTES + 10  # reading stops with the very last bytes
    large = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (size_bytes, bytes(size_bytes))
    async with calling_raw(answering(large, OK)) as (server, _):
        async with await server.send("POST", "/", (), ()) as got:
            await until(lambda: got.complete, "all of it is there")
        assert await ask(server) == b"ok"


async def test_a_model_that_does_not_read_slows_an_upload_down() -> None:
    async def serve(connection: RawConnection) -> None:
        await connection.reader.readuntil(b"\r\n\r\n")
        await read_on.wait()
        while not (await connection.reader.read(1 << 20)).endswith(b"0\r\n\r\n"):
            pass
        await connection.send(OK)

    async def upload() -> AsyncGenerator[bytes]:
        nonlocal taken_bytes
        for _ in range(2048):
            yield bytes(32 * 1024)
            taken_bytes += 32 * 1024

    read_on, taken_bytes = asyncio.Event(), 0
    async with calling_raw(serve) as (server, _):
        asking = asyncio.create_task(ask(server, body=upload()))
        before = -1
        while taken_bytes != before or not before:
            before = taken_bytes
            await asyncio.sleep(0.1)
        assert taken_bytes < 2048 * 32 * 1024
        read_on.set()
        assert await asking == b"ok"
        assert taken_bytes == 2048 * 32 * 1024


# --- an answer before the request has ended -------------------------------------------------------

TOO_LARGE = b"HTTP/1.1 413 Payload Too Large\r\nContent-Length: 2\r\n\r\nno"


async def answer_at_once(connection: RawConnection) -> None:
    """Without reading the body."""
    await connection.reader.readuntil(b"\r\n\r\n")
    await connection.send(TOO_LARGE)
    await asyncio.Event().wait()


async def refused(server: ModelServer, body: Body) -> Answer:
    async with await server.send("POST", "/", (), body) as got:
        assert (got.status, await got.read()) == (413, b"no")
    return got


async def test_an_answer_is_seen_while_the_client_sends_slowly() -> None:
    async def upload() -> AsyncGenerator[bytes]:
        yield b"first"
        await asyncio.Event().wait()

    async with calling_raw(answer_at_once) as (server, raw):
        async with aclosing(upload()) as body:
            await refused(server, body)
        await raw.connections[0].closed_by_peer()  # the rest of the body can not follow


async def test_an_answer_is_seen_while_the_model_does_not_read() -> None:
    async def upload() -> AsyncGenerator[bytes]:
        while True:
            yield bytes(64 * 1024)

    async with calling_raw(answer_at_once) as (server, _), aclosing(upload()) as body:
        await refused(server, body)


async def test_an_upload_that_breaks_ends_the_models_work(model: FakeModel) -> None:
    async def upload() -> AsyncGenerator[bytes]:
        yield b"first"
        raise ConnectionResetError("the client has gone")

    async with calling(model.url) as server:
        with pytest.raises(ConnectionResetError):
            await ask(server, body=upload())
        await until(lambda: not model.open_connections, "it is closed")
