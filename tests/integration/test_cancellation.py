"""A request that is interrupted at each of its awaits: nothing of it is left, and the next one is served.

Interrupted is: cancelled while it waits, cancelled in the very moment it goes on, left by its client, cut off by the
end of its session; alone, or in line between two others; through both servers, with answers in one piece and in many.
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pyworker.backend import Handler
from pyworker.errors import PyWorkerError
from pyworker.handlers import PassThroughHandler
from pyworker.testing import FakeModel, FakeRequest, answer, by_hand, drop_if_reused
from pyworker.worker.core.gate import Mode
from pyworker.worker.model.connection import Body
from pyworker.worker.model.upstream import ModelServer
from tests.support.interrupting import Interrupter, Interruption, cancel, cancel_as_it_goes_on, suspensions
from tests.support.raw_client import RawClient, connected
from tests.support.workers.handlers import Generate, GenerateStream, pass_generate, pass_stream, payload
from tests.support.workers.rig import Rig, a_worker, until

pytestmark = [pytest.mark.uvloop_too, pytest.mark.limit_s(60)]

FLOOD_BYTES = 2 * 1024 * 1024


async def in_pieces(request: FakeRequest) -> None:
    await request.start()
    for number in range(3):
        await request.send_event(number)
        await asyncio.sleep(0.001)


async def flooding(request: FakeRequest) -> None:
    await request.start()
    for _ in range(FLOOD_BYTES // 65536):
        await request.send(bytes(65536))


def pass_upload() -> PassThroughHandler:
    """Nothing counts its workload, so that its body is not held."""
    return PassThroughHandler("/generate")


def pass_job() -> Handler:
    """A path with a place in it is read by aiohttp."""
    return PassThroughHandler("/jobs/{id}")


@dataclass(frozen=True)
class Way:
    """A handler, what the model does, and how the request is sent."""

    make: Callable[[], Handler]
    path: str
    model: Callable[[FakeRequest], Any]
    proved_by_header: bool = False
    reads_after_s: float = 0.0


WAYS = {
    "passed through": Way(pass_generate, "/generate", answer({"text": "hi"})),
    "stream passed through": Way(pass_stream, "/generate_stream", in_pieces),
    "flood passed through": Way(pass_stream, "/generate_stream", flooding, reads_after_s=0.02),
    "upload passed through": Way(pass_upload, "/generate", answer({"text": "hi"}), proved_by_header=True),
    "upload that is counted": Way(pass_generate, "/generate", answer({"text": "hi"}), proved_by_header=True),
    "passed through by aiohttp": Way(pass_job, "/jobs/7", answer({"text": "hi"})),
    "stream passed through by aiohttp": Way(pass_job, "/jobs/7", in_pieces),
    "upload passed through by aiohttp": Way(pass_job, "/jobs/7", answer({"text": "hi"}), proved_by_header=True),
    "authored": Way(Generate, "/generate", answer({"text": "hi"})),
    "authored upload": Way(Generate, "/generate", answer({"text": "hi"}), proved_by_header=True),
    "authored stream": Way(GenerateStream, "/generate_stream", in_pieces),
    "authored flood": Way(GenerateStream, "/generate_stream", flooding, reads_after_s=0.02),
}


WAITS_FOR_NO_BODY = [WAYS["upload passed through"], WAYS["upload passed through by aiohttp"]]


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest) -> Way:
    return WAYS[request.param]


@pytest.fixture
def interrupter(monkeypatch: pytest.MonkeyPatch) -> Interrupter:
    return Interrupter(monkeypatch)


# --- a request ------------------------------------------------------------------------------------


def written(rig: Rig, way: Way, auth: dict[str, Any], session_id: str | None = None) -> tuple[bytes, bytes]:
    """Head and body of a request."""
    lines = [f"POST {way.path} HTTP/1.1", "Host: w", "Content-Type: application/json"]
    if way.proved_by_header:
        proof = json.dumps({**auth, "session_id": session_id}).encode()
        lines.append("X-Auth-Data: " + base64.urlsafe_b64encode(proof).decode())
        body = json.dumps(payload()).encode()
    else:
        body = json.dumps(rig.envelope(payload(), auth=auth, session_id=session_id)).encode()
    lines.append(f"Content-Length: {len(body)}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode(), body


async def fate(client: RawClient, way: Way, *parts: bytes) -> int | None:
    """Send a request piece by piece: the status of its whole answer, None when it was cut off."""
    try:
        for part in parts:
            await client.send(part)
            await asyncio.sleep(0.001)
        await asyncio.sleep(way.reads_after_s)
        return (await client.answer()).status
    except (EOFError, ConnectionError):
        return None


async def one_more(rig: Rig, way: Way, auth: dict[str, Any] | None = None) -> int | None:
    """Another request, on a connection of its own."""
    async with connected(rig.worker.port) as client:
        return await fate(client, way, b"".join(written(rig, way, auth or rig.auth())))


async def nothing_is_left(rig: Rig) -> None:
    """Of any request."""
    ledger, intake = rig.runtime.books.ledger, rig.runtime.proxy.entrance.intake
    await until(lambda: not ledger.in_flight_count, f"nothing is in flight; {ledger!r}")
    assert ledger.imbalance() == 0
    assert {route.lane.working for route in rig.runtime.routes} == {0}
    assert not any(route.lane.waiting for route in rig.runtime.routes)
    await until(lambda: intake.held_bytes == 0, "nothing is held")
    await until(lambda: rig.model.open_connections <= 1, "no connection is left but an idle one")


# --- interrupted ----------------------------------------------------------------------------------


@dataclass
class Victim:
    """The request that is interrupted: its client and what became of it."""

    rig: Rig
    client: RawClient

    def leave(self, _waits_for: Any) -> None:
        self.client.leave()

    def end_its_session(self, _waits_for: Any) -> None:
        sessions = self.rig.runtime.sessions
        for session in list(sessions.sessions.open):
            sessions.end(session)


HAPPENINGS: dict[str, Callable[[Victim], Callable[[Any], None]]] = {
    "cancelled": lambda _: cancel,
    "cancelled as it goes on": lambda _: cancel_as_it_goes_on,
    "left": lambda victim: victim.leave,
}


@pytest.mark.parametrize("happening", HAPPENINGS)
async def test_alone(tmp_path: Path, way: Way, happening: str, interrupter: Interrupter) -> None:
    """And its ticket is good again exactly when it was not admitted."""
    async with a_worker(tmp_path, way.make(), mode=Mode.TICKET, allow_parallel_requests=False) as rig:
        rig.model.on(way.path, way.model)
        for at in suspensions():
            auth, received = rig.auth(), rig.runtime.books.ledger.received.requests
            async with connected(rig.worker.port) as client:
                interruption = interrupter.next = Interruption(at, HAPPENINGS[happening](Victim(rig, client)))
                status = await fate(client, way, *written(rig, way, auth))
            await nothing_is_left(rig)
            admitted = rig.runtime.books.ledger.received.requests > received
            if not interruption.happened:
                assert (status, admitted) == (200, True)
                break
            assert await one_more(rig, way, auth) == (408 if admitted else 200)
            assert await one_more(rig, way) == 200
            await nothing_is_left(rig)


@pytest.mark.parametrize("happening", HAPPENINGS)
async def test_in_line_between_two_others(tmp_path: Path, way: Way, happening: str, interrupter: Interrupter) -> None:
    """The one before it is served, and so is the one behind it."""
    async with a_worker(tmp_path, way.make(), mode=Mode.TICKET, allow_parallel_requests=False) as rig:
        ledger = rig.runtime.books.ledger
        for at in suspensions():
            rig.model.on(way.path, by_hand, way.model)
            before = asyncio.create_task(one_more(rig, way))
            working = await rig.model.requests.next()
            async with connected(rig.worker.port) as client:
                interruption = interrupter.next = Interruption(at, HAPPENINGS[happening](Victim(rig, client)))
                victim = asyncio.create_task(fate(client, way, *written(rig, way, rig.auth())))
                await in_line_or_gone(rig, interruption)
                behind = asyncio.create_task(one_more(rig, way))
                await until(lambda: ledger.in_flight_count >= 2, "the next one is in line behind it")
                await working.answer({"text": "first"})
                assert await before == 200
                status = await victim
            assert await behind == 200
            await nothing_is_left(rig)
            rig.model.requests.clear()
            if not interruption.happened:
                assert status == 200
                break


async def in_line_or_gone(rig: Rig, interruption: Interruption) -> None:
    ledger = rig.runtime.books.ledger
    await until(lambda: interruption.happened or ledger.in_flight_count == 2, "it is in line")


async def test_when_its_session_ends(tmp_path: Path, way: Way, interrupter: Interrupter) -> None:
    """It is answered in full, told that its session is gone, or cut off; never left waiting."""
    async with a_worker(tmp_path, way.make(), mode=Mode.TICKET, allow_parallel_requests=False) as rig:
        rig.model.on(way.path, way.model)
        fates: set[int | None] = set()
        for at in suspensions():
            auth = rig.auth()
            created = await rig.post("/session/create", {}, auth=auth)
            session_id = created.json()["session_id"]
            async with connected(rig.worker.port) as client:
                interruption = interrupter.next = Interruption(at, Victim(rig, client).end_its_session)
                status = await fate(client, way, *written(rig, way, auth, session_id))
            assert status in {200, 410, None}
            await nothing_is_left(rig)
            assert await one_more(rig, way) == 200
            if not interruption.happened:
                assert status == 200
                break
            assert not len(rig.runtime.sessions.sessions)
            fates.add(status)
        assert 410 in fates


async def test_a_session_that_ends_while_a_body_comes_in_is_gone_for_that_request_too(
    tmp_path: Path, way: Way, interrupter: Interrupter
) -> None:
    async with a_worker(tmp_path, way.make(), mode=Mode.TICKET) as rig:
        auth = rig.auth()
        session_id = (await rig.post("/session/create", {}, auth=auth)).json()["session_id"]
        async with connected(rig.worker.port) as client:
            interruption = interrupter.next = Interruption(1, Victim(rig, client).end_its_session)
            head, body = written(rig, way, auth, session_id)
            await client.send(head)
            await until(lambda: interruption.happened, "its body is waited for")
            assert await fate(client, way, body) == 410
        await nothing_is_left(rig)
        await rig.settled(**({"cancelled": 1} if way in WAITS_FOR_NO_BODY else {}))


# --- the exchange with the model ------------------------------------------------------------------


@pytest.fixture
async def model() -> AsyncIterator[FakeModel]:
    async with FakeModel() as model:
        yield model


async def slowly(*pieces: bytes) -> AsyncIterator[bytes]:
    for piece in pieces:
        await asyncio.sleep(0.001)
        yield piece


BODIES: dict[str, Callable[[], Body]] = {
    "pieces": lambda: (b"one", b"two"),
    "large": lambda: (bytes(1024 * 1024),),
    "stream": lambda: slowly(b"one", b"two", b"three"),
}


@pytest.mark.parametrize("happen", [cancel, cancel_as_it_goes_on])
@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize("behaviour", [answer(b"ok"), in_pieces, flooding, drop_if_reused(answer(b"ok"))])
async def test_an_exchange_leaves_no_connection_behind(
    model: FakeModel, behaviour: Any, body: str, happen: Callable[[Any], None]
) -> None:
    server = ModelServer(model.url)

    async def exchange() -> None:
        async with await server.send("POST", "/generate", (), BODIES[body]()) as got:
            await got.read()

    try:
        for at in suspensions():
            model.on("/generate")
            async with await server.send("POST", "/generate", (), ()) as got:  # one kept connection to begin with
                assert await got.read() == b'{"text":"hello"}'
            model.on("/generate", behaviour)
            interruption = Interruption(at, happen)
            try:
                await asyncio.create_task(driven(interruption, exchange()))
            except asyncio.CancelledError:
                assert interruption.happened
            except PyWorkerError:
                assert body == "stream"  # which is not sent again
            await until(lambda: model.open_connections <= 1, "no connection is left but an idle one")
            if not interruption.happened:
                break
    finally:
        server.close()


async def driven(interruption: Interruption, exchange: Any) -> None:
    await interruption.run(exchange)
