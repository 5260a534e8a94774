"""The benchmark's load generator against its model server, on a real socket."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import pytest

from benchmarks.load.plan import Auth, Plan
from benchmarks.load.requests import Requests
from benchmarks.load.run import run
from benchmarks.model_server import ModelServer
from pyworker.tickets import TicketKey, read_ticket
from pyworker.wire import parse_envelope

RSA = Auth("http://127.0.0.1:3000", signature="signed")
TICKET = Auth("http://127.0.0.1:3000", ticket_key_id="k", ticket_key=b"secret".hex())


@pytest.fixture
async def model_port() -> AsyncIterator[int]:
    server = await asyncio.get_running_loop().create_server(lambda: ModelServer(chunks=3), "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


def _plan(port: int, **fields: object) -> Plan:
    return Plan(**{"port": port, "auth": RSA, "first_reqnum": 100_000_000, "group": 0, "measure_s": 20.0} | fields)  # type: ignore[arg-type]


async def test_whole_answers_are_counted_and_timed(model_port: int) -> None:
    figures = await run(_plan(model_port, mode="exchange", connections=4, requests=50))
    assert figures.answers == 50
    assert 0 < figures.p50_ms <= figures.p99_ms
    assert not figures.failures


async def test_streams_are_counted_by_chunk(model_port: int) -> None:
    figures = await run(_plan(model_port, mode="stream", connections=2, requests=4))
    assert figures.chunks >= 4 * 3
    assert not figures.failures


async def test_dropped_clients_leave_no_stream_behind(model_port: int) -> None:
    figures = await run(_plan(model_port, mode="drop", connections=4, requests=20))
    assert figures.answers == 20
    while ModelServer.open_streams:  # noqa: ASYNC110 (it counts; nothing tells)
        await asyncio.sleep(0.01)


async def test_a_closed_port_is_a_failure_and_not_the_end() -> None:
    server = await asyncio.get_running_loop().create_server(asyncio.Protocol, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    figures = await run(_plan(port, mode="exchange", measure_s=0.2))
    assert figures.answers == 0
    assert figures.failures["refused"] >= 1


@pytest.mark.parametrize("auth", [RSA, TICKET])
def test_every_request_is_a_whole_envelope_with_numbers_of_its_own(auth: Auth) -> None:
    requests = Requests(auth, "/generate", first_reqnum=100_000_000, payload_bytes=1024)
    requests.issue(1)  # the second ticket is issued when it is asked for
    for number in (100_000_000, 100_000_001):
        head, _, body = requests.next().partition(b"\r\n\r\n")
        assert f"Content-Length: {len(body)}\r\n".encode() in head + b"\r\n"
        envelope = parse_envelope(body)
        assert envelope is not None
        assert envelope.auth_data.reqnum == envelope.auth_data.request_idx == number
        assert len(bytes(envelope.payload)) == 1024
        assert json.loads(bytes(envelope.payload))["max_response_tokens"] == 300
        if auth.ticket_key_id:
            read_ticket(envelope.auth_data.signature, envelope.auth_data, {"k": TicketKey("k", b"secret")})
