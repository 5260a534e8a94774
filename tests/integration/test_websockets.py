"""Websockets through the worker: both ways, every way one ends, and the books."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import WSMsgType, web

from pyworker import BenchmarkConfig, ConfigurationError, HandlerConfig
from pyworker.handlers import PassThroughHandler
from pyworker.testing import FakeModel, FakeRequest, answer, echo_messages
from pyworker.testing.seen import Seen
from pyworker.worker import bridge
from pyworker.worker.core.gate import Mode
from pyworker.worker.core.readiness import State
from tests.support.interrupting import Interrupter, Interruption, cancel, cancel_as_it_goes_on, suspensions
from tests.support.workers.handlers import payload
from tests.support.workers.rig import Rig, a_declared_worker, a_worker, until

pytestmark = pytest.mark.uvloop_too


def feed(endpoint: str = "/ws", **kwargs: Any) -> PassThroughHandler:
    return PassThroughHandler(endpoint, websocket=True, **kwargs)


class Held:
    """A model's side of each websocket, which the test has in hand; it notes what came, how it ended, in order."""

    def __init__(self, **options: Any) -> None:
        self.sockets: Seen[web.WebSocketResponse] = Seen()
        self.came: Seen[Any] = Seen()
        self._options = options

    async def __call__(self, request: FakeRequest) -> None:
        socket = await request.websocket(**self._options)
        self.sockets.append(socket)
        try:
            async for message in socket:
                self.came.append(message.data)
        finally:
            self.came.append(("closed", socket.close_code))


async def refused(rig: Rig, path: str = "/ws", **kwargs: Any) -> tuple[int, dict[str, str]]:
    with pytest.raises(aiohttp.WSServerHandshakeError) as refusal:
        await rig.websocket(path, **kwargs)
    return refusal.value.status, dict(refusal.value.headers or {})


# --- what goes through ------------------------------------------------------------------------------


async def test_text_and_binary_go_both_ways_and_a_clean_close_is_served(tmp_path: Path) -> None:
    async with a_worker(tmp_path, feed(workload=7.0)) as rig:
        rig.model.on("/ws", echo_messages)
        async with await rig.websocket("/ws?room=1&api_key=secret") as socket:
            await socket.send_str("grüße")
            await socket.send_bytes(b"\x00\xff")
            assert [(await socket.receive()).data, (await socket.receive()).data] == ["grüße", b"\x00\xff"]
        await rig.settled(served=1)
        assert rig.runtime.books.ledger.received.workload == 7.0
        assert str(rig.model.requests[0].url) == "/ws?room=1"


async def test_places_headers_and_subprotocols_go_through_and_secrets_do_not(tmp_path: Path) -> None:
    async with a_worker(tmp_path, feed("/rooms/{room}/ws")) as rig:
        held = Held(protocols=["beta"])
        rig.model.on("/rooms/7/ws", held)
        proof = rig.engine.proof(rig.auth())
        headers = {"X-Auth-Data": proof, "X-Trace": "abc", "Cookie": "a=b", "Authorization": "Bearer key"}
        async with await rig.websocket("/rooms/7/ws", headers=headers, protocols=["alpha", "beta"]) as socket:
            assert socket.protocol == "beta"
        sent = rig.model.requests[0].headers
        assert (sent["X-Trace"], sent["Sec-WebSocket-Protocol"]) == ("abc", "alpha,beta")
        assert not {"X-Auth-Data", "Cookie", "Authorization"} & set(sent)
        assert sent["Host"] == f"127.0.0.1:{rig.model.port}"
        await rig.settled(served=1)


async def test_pings_go_through_to_the_model_and_its_pongs_come_back(tmp_path: Path) -> None:
    async with a_worker(tmp_path, feed()) as rig:
        held = Held(autoping=False)
        rig.model.on("/ws", held)
        async with await rig.websocket("/ws", autoping=False) as socket:
            await socket.ping(b"there?")
            assert await held.came.next() == b"there?"
            await held.sockets[0].pong(b"there?")
            message = await socket.receive()
            assert (message.type, message.data) == (WSMsgType.PONG, b"there?")
        await rig.settled(served=1)


async def test_an_idle_websocket_gets_pings_and_nobody_sees_the_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fault 21: what is idle for long is cut by the network."""
    monkeypatch.setattr(bridge, "PING_S", 0.02)
    async with a_worker(tmp_path, feed()) as rig:
        held = Held(autoping=False)
        rig.model.on("/ws", held)
        async with await rig.websocket("/ws", autoping=False) as socket:
            for _ in range(3):
                message = await socket.receive()
                assert (message.type, message.data) == (WSMsgType.PING, bridge.PING)
                await socket.pong(message.data)
            await held.came.at_least(3)
            monkeypatch.setattr(bridge, "PING_S", 30.0)
            await socket.send_str("said")
            await held.came.where(lambda data: data == "said")
            assert all(came in (bridge.PING, "said") for came in held.came)
        await rig.settled(served=1)


async def test_a_large_message_goes_through_and_one_above_the_limit_ends_it(tmp_path: Path) -> None:
    async with a_worker(tmp_path, feed(), settings={"max_body_bytes": 1_000_000}) as rig:
        rig.model.on("/ws", echo_messages)
        socket = await rig.websocket("/ws")
        await socket.send_bytes(bytes(900_000))
        assert len((await socket.receive()).data) == 900_000
        await socket.send_bytes(bytes(1_000_001))
        assert (await socket.receive()).data == 1009
        await rig.settled(cancelled=1)


async def test_whoever_does_not_read_slows_the_other_side(tmp_path: Path) -> None:
    async with a_worker(tmp_path, feed()) as rig:
        sent: list[int] = []

        async def flood(request: FakeRequest) -> None:
            socket = await request.websocket()
            for number in range(600):
                await socket.send_bytes(bytes(65536))
                sent.append(number)

        rig.model.on("/ws", flood)
        socket = await rig.websocket("/ws")
        await socket.receive()
        size = -1
        while size != len(sent):  # until it stands still
            size = len(sent)
            await asyncio.sleep(0.1)
        assert size < 600
        for _ in range(599):
            assert (await socket.receive()).type is WSMsgType.BINARY
        assert (await socket.receive()).type is WSMsgType.CLOSE
        await rig.settled(served=1)


# --- by declaration ---------------------------------------------------------------------------------


async def test_a_declared_one_shares_its_route_with_a_handler_of_another_method(tmp_path: Path) -> None:
    talk = HandlerConfig(route="/talk", websocket=True, workload=3.0, allow_parallel_requests=True)
    async with a_declared_worker(tmp_path, talk, HandlerConfig(route="/talk", workload=5.0)) as rig:
        rig.model.on("/talk", echo_messages, answer({}))
        async with await rig.websocket("/talk") as socket:
            await socket.send_str("hello")
            assert (await socket.receive()).data == "hello"
        assert (await rig.post("/talk", {})).status == 200
        await rig.settled(served=2)
        assert rig.runtime.books.ledger.received.workload == 8.0


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"request_parser": lambda payload: payload}, "no payload for request_parser"),
        ({"benchmark_config": BenchmarkConfig(dataset=[{}])}, "no payload for benchmark_config"),
        ({"methods": ["GET", "PUT"]}, "opened by GET"),
        ({"workload": -1.0}, "workload"),
        ({"websocket": "yes"}, "websocket"),
    ],
)
def test_what_a_declared_one_cannot_have_is_named(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        HandlerConfig(**{"route": "/talk", "websocket": True, **given})


# --- how one ends -----------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [1000, 1001, 3000, 4999])
async def test_a_clients_close_is_passed_on_with_code_and_reason(tmp_path: Path, code: int) -> None:
    async with a_worker(tmp_path, feed()) as rig:
        held = Held(autoclose=False)
        rig.model.on("/ws", held)
        socket = await rig.websocket("/ws")
        await held.sockets.next()
        await socket.close(code=code, message=b"enough")
        assert socket.close_code == code
        assert await held.came.next() == ("closed", code)
        await rig.settled(served=1)


@pytest.mark.parametrize(
    ("code", "outcome"), [(1000, "served"), (4000, "served"), (1001, "errored"), (1011, "errored"), (1013, "errored")]
)
async def test_a_models_close_is_passed_on_with_code_and_reason(tmp_path: Path, code: int, outcome: str) -> None:
    async with a_worker(tmp_path, feed()) as rig:
        rig.model.on("/ws", held := Held())
        socket = await rig.websocket("/ws")
        await (await held.sockets.next()).close(code=code, message=b"that was it")
        message = await socket.receive()
        assert (message.type, message.data, message.extra) == (WSMsgType.CLOSE, code, "that was it")
        await rig.settled(**{outcome: 1})


async def test_a_close_without_a_code_is_a_clean_one(tmp_path: Path) -> None:
    async with a_worker(tmp_path, feed()) as rig:
        rig.model.on("/ws", held := Held())
        socket = await rig.websocket("/ws")
        await socket.send_frame(b"", WSMsgType.CLOSE)
        assert await held.came.next() == ("closed", 1000)
        await rig.settled(served=1)
        await socket.close()


async def test_a_model_that_dies_ends_it_with_1011(tmp_path: Path) -> None:
    async with a_worker(tmp_path, feed()) as rig:
        rig.model.on("/ws", held := Held())
        socket = await rig.websocket("/ws")
        await held.sockets.next()
        await held.sockets[0].send_str("last")
        rig.model.requests[0].drop(reset=True)
        assert (await socket.receive()).data == "last"
        message = await socket.receive()
        assert (message.type, message.data) == (WSMsgType.CLOSE, 1011)
        await rig.settled(errored=1)


async def test_a_client_that_vanishes_is_cancelled_and_the_models_work_stops(tmp_path: Path) -> None:
    async with a_worker(tmp_path, feed(), allow_parallel_requests=False) as rig:
        rig.model.on("/ws", held := Held())
        socket = await rig.websocket("/ws")
        await held.sockets.next()
        vanish(socket)
        assert await held.came.next() == ("closed", 1001)
        await rig.settled(cancelled=1)
        async with await rig.websocket("/ws"):  # the slot is free
            pass


async def test_a_client_that_says_goodbye_and_leaves_at_once_is_served(tmp_path: Path) -> None:
    async with a_worker(tmp_path, feed()) as rig:
        rig.model.on("/ws", held := Held())
        socket = await rig.websocket("/ws")
        await held.sockets.next()
        await socket.send_str("last words")
        await socket.send_frame(b"\x03\xe8", WSMsgType.CLOSE)
        socket._response.close()
        assert [await held.came.next(), await held.came.next()] == ["last words", ("closed", 1000)]
        await rig.settled(served=1)


async def test_a_client_that_breaks_the_protocol_is_closed_and_the_model_too(tmp_path: Path) -> None:
    async with a_worker(tmp_path, feed()) as rig:
        rig.model.on("/ws", held := Held())
        socket = await rig.websocket("/ws")
        await socket.send_frame(b"", WSMsgType.CONTINUATION)
        assert (await socket.receive()).data == 1002
        assert await held.came.next() == ("closed", 1001)
        await rig.settled(cancelled=1)


async def test_the_end_of_its_session_ends_it(tmp_path: Path) -> None:
    async with a_worker(tmp_path, feed(), mode=Mode.TICKET) as rig:
        rig.model.on("/ws", held := Held())
        auth = rig.auth()
        created = await rig.post("/session/create", {"lifetime": 60}, auth=auth)
        session_id = created.json()["session_id"]
        socket = await rig.websocket("/ws", auth=auth, session_id=session_id)
        await held.sockets.next()
        await rig.send("POST", "/session/end", json={"session_id": session_id, "session_auth": auth})
        assert (await socket.receive()).data == 1001
        await held.came.where(lambda came: came == ("closed", 1001))
        await rig.settled(cancelled=1)


async def test_a_drain_waits_for_it_and_then_closes_it_as_going_away(tmp_path: Path) -> None:
    closed: list[Any] = []
    async with FakeModel() as model:
        model.on("/ws", held := Held())
        async with a_worker(tmp_path, feed(), model=model, settings={"drain_s": 0.2}) as rig:
            socket = await rig.websocket("/ws")
            await held.sockets.next()

            async def listen() -> None:
                closed.extend(((await socket.receive()).data, rig.runtime.readiness.state.name))

            listening = asyncio.create_task(listen())
        await listening
    assert closed == [1001, "DRAINING"]
    assert held.came == [("closed", 1001)]
    assert rig.runtime.books.ledger.imbalance() == 0


async def test_a_client_that_reads_nothing_does_not_keep_a_worker_from_ending(tmp_path: Path) -> None:
    async with FakeModel() as model:

        async def flood(request: FakeRequest) -> None:
            socket = await request.websocket()
            while True:
                await socket.send_bytes(bytes(65536))

        model.on("/ws", flood)
        async with a_worker(tmp_path, feed(), model=model) as rig:
            socket = await rig.websocket("/ws")
            await until(lambda: rig.runtime.books.ledger.in_flight_count == 1)
            await asyncio.sleep(0.2)  # the buffers fill
        await model.requests[0].gone.wait()
        assert rig.runtime.books.ledger.imbalance() == 0
        await socket.close()


# --- who is let in ----------------------------------------------------------------------------------


async def test_one_without_proof_is_refused_before_the_model_hears_of_it(tmp_path: Path) -> None:
    async with a_worker(tmp_path, feed(), mode=Mode.TICKET) as rig:
        assert (await refused(rig, headers={}))[0] == 401
        assert (await refused(rig, auth=rig.auth(age_s=120.0)))[0] == 408
        used = rig.auth()
        rig.model.on("/ws", echo_messages)
        await (await rig.websocket("/ws", auth=used)).close()
        assert (await refused(rig, auth=used))[0] == 408
        assert len(rig.model.requests) == 1
        await rig.settled(served=1)


async def test_a_browser_proves_itself_by_subprotocol(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with a_worker(tmp_path, feed(), mode=Mode.TICKET) as rig:
        rig.model.on("/ws", echo_messages)
        proof = rig.engine.proof(rig.auth())
        async with await rig.websocket("/ws", headers={}, protocols=["pyworker", f"pyworker.auth.{proof}"]) as socket:
            assert socket.protocol == "pyworker"
        assert "Sec-WebSocket-Protocol" not in rig.model.requests[0].headers
        status, _ = await refused(rig, headers={}, protocols=[f"pyworker.auth.{proof}"])
        assert status in {408, 422}
        await rig.settled(served=1)
        assert proof not in caplog.text


async def test_a_proof_by_subprotocol_must_leave_something_to_answer(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with a_worker(tmp_path, feed(), mode=Mode.TICKET) as rig:
        proof = rig.engine.proof(rig.auth())
        assert (await refused(rig, headers={}, protocols=[f"pyworker.auth.{proof}", "other"]))[0] == 422
        await rig.settled()
        assert proof not in caplog.text


async def test_a_worker_that_is_not_ready_says_so_before_the_upgrade(tmp_path: Path) -> None:
    async with a_worker(tmp_path, feed()) as rig:
        rig.runtime.backend_errored("the model is broken")
        status, headers = await refused(rig)
        assert (status, "Retry-After" in headers) == (503, True)
        await rig.settled()


async def test_one_that_would_wait_too_long_is_refused_and_its_ticket_stays_good(tmp_path: Path) -> None:
    handler = feed(max_concurrency=1, max_queue_time=1.0, workload=10.0)
    async with a_worker(tmp_path, handler, mode=Mode.TICKET, fixed_throughput=1.0) as rig:
        rig.model.on("/ws", echo_messages)
        first = await rig.websocket("/ws")
        auth = rig.auth()
        status, headers = await refused(rig, auth=auth)
        assert status == 429
        assert int(headers["Retry-After"]) >= 1
        await first.close()
        await rig.settled(served=1, rejected=1)
        await (await rig.websocket("/ws", auth=auth)).close()
        await rig.settled(served=2, rejected=1)


async def test_one_waits_for_its_slot_before_the_upgrade(tmp_path: Path) -> None:
    async with a_worker(tmp_path, feed(max_concurrency=1)) as rig:
        rig.model.on("/ws", echo_messages)
        first = await rig.websocket("/ws")
        second = asyncio.create_task(rig.websocket("/ws"))
        await until(lambda: rig.runtime.books.ledger.in_flight_count == 2)
        assert len(rig.model.requests) == 1
        await first.close()
        await (await second).close()
        await rig.settled(served=2)


async def test_what_is_no_handshake_is_told_what_this_route_is(tmp_path: Path) -> None:
    async with a_worker(tmp_path, feed()) as rig:
        plain = await rig.send("GET", "/ws")
        assert (plain.status, "this route is a websocket" in plain.json()["error"]) == (400, True)
        assert (await refused(rig, headers={"Sec-WebSocket-Version": "8"}))[0] == 400
        assert (await rig.post("/ws", payload())).status == 405
        await rig.settled()


async def test_a_refused_handshake_leaves_no_connection_that_hangs(tmp_path: Path) -> None:
    async with a_worker(tmp_path, feed(), mode=Mode.TICKET) as rig:
        for _ in range(3):
            assert (await refused(rig, headers={}))[0] == 401
            assert (await rig.send("GET", "/pyworker/health")).status == 200


async def test_the_models_refusal_is_passed_on(tmp_path: Path) -> None:
    async with a_worker(tmp_path, feed()) as rig:
        rig.model.on("/ws", answer({"detail": "no"}, status=403), answer({"ok": True}))
        assert (await refused(rig))[0] == 403
        assert (await refused(rig))[0] == 502
        await rig.settled(errored=2)


async def test_a_model_that_is_not_there_is_a_502(tmp_path: Path) -> None:
    async with a_worker(tmp_path, feed()) as rig:
        await rig.model.stop_listening()
        assert (await refused(rig))[0] == 502
        await rig.settled(errored=1)
        await rig.state(State.ERRORED)  # it was looked after, and found gone


# --- many, and beside others ------------------------------------------------------------------------


@pytest.mark.limit_s(120)
async def test_many_idle_websockets_cost_little(tmp_path: Path) -> None:
    async with a_worker(tmp_path, feed(workload=0.0)) as rig:
        rig.model.on("/ws", echo_messages)
        sockets = [await rig.websocket("/ws") for _ in range(300)]
        assert rig.runtime.books.ledger.in_flight_count == 300
        assert len(asyncio.all_tasks()) < 300 * 8
        await asyncio.gather(*(socket.send_str("hello") for socket in sockets))
        assert {(await socket.receive()).data for socket in sockets} == {"hello"}
        await asyncio.gather(*(socket.close() for socket in sockets))
        await rig.settled(served=300)


async def test_how_long_one_is_open_says_nothing_of_the_capacity(tmp_path: Path) -> None:
    async with a_worker(tmp_path, feed(), fixed_throughput=None, benchmark_handler=None) as rig:
        rig.model.on("/ws", echo_messages)
        await (await rig.websocket("/ws")).close()
        await rig.settled(served=1)
        assert rig.runtime.books.ledger.capacity_per_s == 0.0


async def spoken(rig: Rig) -> bool:
    """One conversation, whole or broken off."""
    try:
        async with await rig.websocket("/ws") as socket:
            await socket.send_str("hello")
            message = await socket.receive()
            return message.data == "hello" and await socket.close() and socket.close_code == 1000
    except (aiohttp.ClientError, ConnectionError):
        return False


@pytest.mark.limit_s(60)
@pytest.mark.parametrize("happening", ["cancelled", "cancelled as it goes on", "left"])
async def test_interrupted_at_each_of_its_awaits_it_leaves_nothing(
    tmp_path: Path, happening: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupter = Interrupter(monkeypatch)
    async with a_worker(tmp_path, feed(), mode=Mode.TICKET, allow_parallel_requests=False) as rig:
        rig.model.on("/ws", echo_messages)
        ledger = rig.runtime.books.ledger
        for at in suspensions():
            speaking = asyncio.create_task(spoken(rig))
            happen = {
                "cancelled": cancel,
                "cancelled as it goes on": cancel_as_it_goes_on,
                "left": lambda _, speaking=speaking: speaking.cancel(),
            }[happening]
            interruption = interrupter.next = Interruption(at, happen)
            (went_well,) = await asyncio.gather(speaking, return_exceptions=True)
            await until(lambda: not ledger.in_flight_count and not rig.model.open_connections, "nothing is left")
            assert ledger.imbalance() == 0
            if not interruption.happened:
                assert went_well is True
                break
            assert await spoken(rig)


def vanish(socket: aiohttp.ClientWebSocketResponse) -> None:
    """The client's machine is gone, without a close."""
    socket._response.close()
