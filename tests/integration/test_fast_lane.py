"""The fast lane reads HTTP as aiohttp does: what one takes the other takes, and answers the same."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from pyworker.testing import FakeModel, FakeRequest, answer, by_hand
from tests.support.raw_client import RawAnswer, RawClient, connected
from tests.support.workers.handlers import Generate, pass_generate, payload
from tests.support.workers.rig import Rig, a_worker, until

pytestmark = [pytest.mark.uvloop_too, pytest.mark.limit_s(30)]

ENVELOPE = json.dumps(
    {"auth_data": {"cost": 1, "endpoint": "e", "reqnum": 1, "url": "u", "signature": ""}, "payload": payload()}
).encode()


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    async with a_worker(tmp_path, pass_generate(methods=("POST", "GET", "HEAD", "PUT"))) as rig:
        yield rig


@asynccontextmanager
async def both(tmp_path: Path) -> AsyncGenerator[tuple[Rig, Rig]]:
    """A worker whose requests are read by the fast lane, and one whose requests aiohttp reads."""
    methods = ("POST", "GET", "HEAD", "PUT")
    async with AsyncExitStack() as stack:
        fast = await stack.enter_async_context(a_worker(tmp_path, pass_generate(methods=methods)))
        slow = await stack.enter_async_context(a_worker(tmp_path, Generate(methods=methods)))
        yield fast, slow


def post(*headers: str, body: bytes = ENVELOPE, line: str = "POST /generate HTTP/1.1", length: bool = True) -> bytes:
    lines = [line, "Host: w", "Content-Type: application/json", *headers]
    if length:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def chunked(body: bytes, *, trailer: bytes = b"") -> bytes:
    return b"5\r\n" + body[:5] + b"\r\n%x;a=b\r\n" % (len(body) - 5) + body[5:] + b"\r\n0\r\n" + trailer + b"\r\n"


async def asked(rig: Rig, request: bytes, *, to_head: bool = False) -> RawAnswer | None:
    """The answer to these bytes; None when the connection was closed without one."""
    async with connected(rig.worker.port) as client:
        await client.send(request)
        try:
            return await client.answer(to_head=to_head)
        except (EOFError, ConnectionError):
            return None


# --- as aiohttp does ------------------------------------------------------------------------------

TAKEN = {
    "plain": post(),
    "no content type": post().replace(b"Content-Type: application/json\r\n", b""),
    "charset": post().replace(b"application/json", b"application/json; charset=utf-8"),
    "a query": post(line="POST /generate?a=1&api_key=k HTTP/1.1"),
    "header names in any case": post().replace(b"Content-Length", b"cOnTeNt-LeNgTh"),
    "chunked": post("Transfer-Encoding: chunked", body=chunked(ENVELOPE), length=False),
    "chunked, with a trailer": post(
        "Transfer-Encoding: chunked", body=chunked(ENVELOPE, trailer=b"X-Sum: 1\r\n"), length=False
    ),
    "http 1.0": post(line="POST /generate HTTP/1.0"),
    "close": post("Connection: close"),
    "an upgrade that is not taken": post("Connection: Upgrade", "Upgrade: h2c"),
    "an empty header": post("X-Empty:"),
    "a header that is not ASCII": post("X-Name: gr\u00fcn"),
    "many headers": post(*(f"X-{number}: {number}" for number in range(90))),
}
REFUSED = {
    "not JSON": post(body=b"{"),
    "no body": post(body=b""),
    "another path": post(line="POST /other HTTP/1.1"),
    "a path with a slash more": post(line="POST /generate/ HTTP/1.1"),
    "another method": post(line="PATCH /generate HTTP/1.1"),
    "no HTTP": b"this is no request\r\n\r\n",
    "a version that is none": post(line="POST /generate HTTP/9.9"),
    "two lengths": post("Content-Length: 5"),
    "a length that is none": post("Content-Length: many", length=False),
    "a length below zero": post("Content-Length: -5", length=False),
    "a length and chunks": post(
        "Content-Length: 5", "Transfer-Encoding: chunked", body=chunked(ENVELOPE), length=False
    ),
    "an encoding that is not chunked": post("Transfer-Encoding: gzip", length=False),
    "a space before the colon": post("X-Bad : 1"),
    "a header without a colon": post("no colon here"),
    "a NUL in a header": post("X-Bad: a\0b"),
    "a folded header": post("X-Fold: a", " b"),
}


@pytest.mark.parametrize("request_", TAKEN.values(), ids=TAKEN.keys())
async def test_what_aiohttp_takes_is_taken(tmp_path: Path, request_: bytes) -> None:
    async with both(tmp_path) as rigs:
        answers = [await asked(rig, request_) for rig in rigs]
    assert [got and got.status for got in answers] == [200, 200]


@pytest.mark.parametrize("request_", REFUSED.values(), ids=REFUSED.keys())
async def test_what_aiohttp_refuses_is_refused(tmp_path: Path, request_: bytes) -> None:
    """And nothing of it reaches the model."""
    async with both(tmp_path) as rigs:
        answers = [await asked(rig, request_) for rig in rigs]
        assert all(got is not None and 400 <= got.status < 500 for got in answers), answers
        assert answers[0] is not None
        assert answers[0].json()["error"]
        assert not any(rig.model.requests for rig in rigs)


async def test_a_request_may_come_in_any_two_pieces(rig: Rig) -> None:
    request = post("Transfer-Encoding: chunked", body=chunked(ENVELOPE), length=False)
    async with connected(rig.worker.port) as client:
        for at in range(1, len(request)):
            await client.send(request[:at])
            await asyncio.sleep(0)
            await client.send(request[at:])
            assert (await client.answer()).status == 200
    assert {request.body for request in rig.model.requests} == {rig.model.requests[0].body}


async def test_a_request_may_come_byte_by_byte(rig: Rig) -> None:
    async with connected(rig.worker.port) as client:
        for byte in post():
            await client.send(bytes([byte]))
            await asyncio.sleep(0)
        assert (await client.answer()).status == 200


# --- several requests on one connection -----------------------------------------------------------


async def several(client: RawClient, count: int) -> list[int]:
    return [(await client.answer()).status for _ in range(count)]


async def test_requests_behind_each_other_are_answered_in_their_order(rig: Rig) -> None:
    """Sent without waiting, each in a piece of its own."""
    rig.model.on("/generate", *(answer({"number": number}) for number in range(3)))
    async with connected(rig.worker.port) as client:
        for _ in range(3):
            await client.send(post())
            await until(lambda: rig.model.requests, "the first is at the model")
        answers: list[object] = []
        try:
            while len(answers) < 3:
                answers.append((await client.answer()).json())
        except (EOFError, ConnectionError):
            assert answers  # in one piece with the first: it ends the connection, and its client asks again
        assert answers == [{"number": number} for number in range(len(answers))]


async def test_requests_in_one_piece_are_never_mixed_up(rig: Rig) -> None:
    """The second may be left to the client to send again, on a new connection."""
    second = post(body=ENVELOPE.replace(b"Why?", b"Who?"))
    async with connected(rig.worker.port) as client:
        await client.send(post() + second)
        assert (await client.answer()).status == 200
        await asyncio.wait([asyncio.ensure_future(client.closed())], timeout=0.2)
    bodies = [request.json()["prompt"] for request in rig.model.requests]
    assert bodies in (["Why?"], ["Why?", "Who?"])


async def test_a_connection_serves_routes_of_both_servers(rig: Rig) -> None:
    """The first that only aiohttp knows takes it over to aiohttp, which knows them all."""
    async with connected(rig.worker.port) as client:
        await client.send(post())
        assert (await client.answer()).status == 200
        await client.send("GET /pyworker/health HTTP/1.1\r\nHost: w\r\n\r\n")
        assert (await client.answer()).json() == {"status": "ready"}
        await client.send(post())
        assert (await client.answer()).status == 200


@pytest.mark.parametrize("refused", ["not JSON", "no body"])
async def test_after_a_refusal_the_connection_serves_on(rig: Rig, refused: str) -> None:
    async with connected(rig.worker.port) as client:
        await client.send(REFUSED[refused])
        assert (await client.answer()).status == 422
        await client.send(post())
        assert (await client.answer()).status == 200


async def test_close_means_close(rig: Rig) -> None:
    async with connected(rig.worker.port) as client:
        await client.send(post("Connection: close"))
        got = await client.answer()
        assert (got.status, got.headers["connection"]) == (200, "close")
        assert await client.closed() == b""


async def test_head_has_no_body_and_the_next_answer_begins_where_it_should(rig: Rig) -> None:
    rig.model.on("/generate", answer({"text": "hello"}))
    async with connected(rig.worker.port) as client:
        for _ in range(2):
            await client.send("HEAD /generate HTTP/1.1\r\nHost: w\r\n\r\n")
            got = await client.answer(to_head=True)
            assert (got.status, got.headers["content-length"]) == (200, "16")
        await client.send("GET /generate HTTP/1.1\r\nHost: w\r\n\r\n")
        assert (await client.answer()).json() == {"text": "hello"}


# --- backpressure ---------------------------------------------------------------------------------


async def test_a_model_that_does_not_read_slows_its_client_down(tmp_path: Path) -> None:
    """An upload that passes through is not gathered here."""
    size_bytes, sent_bytes = 24 * 1024 * 1024, 0

    async def read_when_told(request: FakeRequest) -> None:
        await read_on.wait()
        while await request.read_some(1 << 20):
            pass
        await request.answer({"bytes": len(request.body)})

    async def upload(client: RawClient) -> None:
        nonlocal sent_bytes
        head = post(f"Content-Length: {size_bytes}", body=b"", length=False)
        await client.send(head.replace(b"application/json", b"image/png"))
        while sent_bytes < size_bytes:
            await client.send(bytes(65536))
            sent_bytes += 65536

    read_on = asyncio.Event()
    async with FakeModel(read_bodies=False) as model, a_worker(tmp_path, pass_generate(), model=model) as rig:
        model.on("/generate", read_when_told)
        async with connected(rig.worker.port) as client:
            uploading = asyncio.create_task(upload(client))
            before = -1
            while not sent_bytes or sent_bytes != before:
                before = sent_bytes
                await asyncio.sleep(0.1)
            assert sent_bytes < size_bytes
            read_on.set()
            await uploading
            assert (await client.answer()).json() == {"bytes": size_bytes}


async def test_a_request_that_comes_while_one_is_served_waits_for_it(rig: Rig) -> None:
    rig.model.on("/generate", by_hand)
    async with connected(rig.worker.port) as client:
        await client.send(post())
        first = await rig.model.requests.next()
        await client.send(post())
        assert len(rig.model.requests) == 1
        await first.answer({"number": 1})
        assert (await client.answer()).json() == {"number": 1}
        second = await rig.model.requests.next()
        await second.answer({"number": 2})
        assert (await client.answer()).json() == {"number": 2}
