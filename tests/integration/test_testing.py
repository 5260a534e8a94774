"""The fakes that ship: they do on the wire what they say."""

from __future__ import annotations

import asyncio
import gzip
import io
import json
import signal
import time
from collections.abc import AsyncIterator
from email.utils import parsedate_to_datetime
from pathlib import Path

import aiohttp
import pytest

from pyworker import wire
from pyworker.errors import AuthenticationFailed
from pyworker.settings import WorkerSettings
from pyworker.testing import (
    FakeEngine,
    FakeModel,
    FakeRequest,
    FakeServer,
    ManualClock,
    Seen,
    WorkerProcess,
    after,
    answer,
    by_hand,
    drop,
    drop_if_reused,
    echo,
    free_port,
    stream,
)
from pyworker.tickets import TicketKey, load_public_key, read_ticket, rsa_message, verify_rsa

pytestmark = pytest.mark.uvloop_too  # the loop of whoever uses them

WORKER_URL = "http://127.0.0.1:3000"


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


@pytest.fixture
async def model() -> AsyncIterator[FakeModel]:
    async with FakeModel() as model:
        yield model


@pytest.fixture
async def engine() -> AsyncIterator[FakeEngine]:
    async with FakeEngine() as engine:
        yield engine


# --- Seen -----------------------------------------------------------------------------------------


async def test_next_gives_every_item_once_whether_it_was_there_before_or_comes_later() -> None:
    seen: Seen[str] = Seen()
    seen.append("one")
    assert await seen.next() == "one"
    waiting = asyncio.create_task(seen.next())
    await asyncio.sleep(0)
    assert not waiting.done()
    seen.append("two")
    assert await waiting == "two"


async def test_where_finds_the_first_that_fits() -> None:
    seen: Seen[int] = Seen()
    for number in (1, 2, 3):
        seen.append(number)
    assert await seen.where(lambda number: number > 1) == 2
    waiting = asyncio.create_task(seen.where(lambda number: number > 3))
    await asyncio.sleep(0)
    seen.append(4)
    assert await waiting == 4


async def test_at_least_waits_for_so_many() -> None:
    seen: Seen[int] = Seen()
    waiting = asyncio.create_task(seen.at_least(2))
    for number in (1, 2, 3):
        await asyncio.sleep(0)
        seen.append(number)
    assert await waiting == [1, 2]


async def test_a_wait_that_takes_too_long_says_what_was_seen() -> None:
    seen: Seen[str] = Seen()
    seen.append("something else")
    with pytest.raises(TimeoutError, match="something else"):
        await seen.where(lambda item: item == "this", wait_s=0.01)


async def test_what_was_cleared_is_forgotten() -> None:
    seen: Seen[str] = Seen()
    seen.append("one")
    await seen.next()
    seen.clear()
    seen.append("two")
    assert await seen.next() == "two"
    assert seen == ["two"]


# --- ManualClock ----------------------------------------------------------------------------------


async def test_a_sleep_ends_when_the_clock_was_advanced_far_enough() -> None:
    clock = ManualClock(now_s=5.0)
    sleeper = asyncio.create_task(clock.sleep(2.0))
    await clock.sleepers(1)
    clock.advance(1.5)
    await asyncio.sleep(0)
    assert not sleeper.done()
    clock.advance(0.5)
    await sleeper
    assert clock() == 7.0


async def test_sleeps_end_in_the_order_of_their_times() -> None:
    clock, ended = ManualClock(), list[float]()

    async def sleep(time_s: float) -> None:
        await clock.sleep(time_s)
        ended.append(time_s)

    async with asyncio.TaskGroup() as tasks:
        for time_s in (3.0, 1.0, 2.0):
            tasks.create_task(sleep(time_s))
        await clock.sleepers(3)
        clock.advance(10.0)
    assert ended == [1.0, 2.0, 3.0]


async def test_a_cancelled_sleep_does_not_disturb_the_others() -> None:
    clock = ManualClock()
    cancelled, kept = asyncio.create_task(clock.sleep(1.0)), asyncio.create_task(clock.sleep(1.0))
    await clock.sleepers(2)
    cancelled.cancel()
    clock.advance(1.0)
    await kept


def test_a_clock_does_not_go_back() -> None:
    with pytest.raises(ValueError, match="does not go back"):
        ManualClock().advance(-1.0)


# --- what a fake server does ----------------------------------------------------------------------


async def test_a_request_is_seen_as_it_was_sent(http: aiohttp.ClientSession, model: FakeModel) -> None:
    async with http.put(f"{model.url}/a%2Fb/c?x=1", data=b'{"n":1}', headers={"X-Mine": "yes"}) as response:
        assert await response.json() == {"text": "hello"}
    request = await model.requests.next()
    assert (request.method, request.path, request.query["x"]) == ("PUT", "/a%2Fb/c", "1")
    assert (request.body, request.json(), request.headers["x-mine"]) == (b'{"n":1}', {"n": 1}, "yes")
    assert repr(request) == "<PUT /a%2Fb/c?x=1>"


async def test_a_compressed_or_large_body_is_seen_as_it_was_sent(http: aiohttp.ClientSession, model: FakeModel) -> None:
    body = gzip.compress(bytes(8 * 1024 * 1024), compresslevel=0)
    await (await http.post(model.url, data=io.BytesIO(body), headers={"Content-Encoding": "gzip"})).read()
    assert (await model.requests.next()).body == body


async def test_behaviours_come_in_order_and_the_last_one_stays(http: aiohttp.ClientSession, model: FakeModel) -> None:
    model.on("/x", answer(status=500), answer(status=429, headers={"Retry-After": "1"}), answer("fine"))
    assert [(await http.get(f"{model.url}/x")).status for _ in range(4)] == [500, 429, 200, 200]
    model.on("/x")
    assert await (await http.get(f"{model.url}/x")).json() == {"text": "hello"}


async def test_answers_have_the_type_of_what_was_given(http: aiohttp.ClientSession, model: FakeModel) -> None:
    model.on("/x", answer(b"\x00"), answer("ü"), answer([1]), echo)
    responses = [
        await http.post(f"{model.url}/x", data=b"<a/>", headers={"Content-Type": "text/xml"}) for _ in range(4)
    ]
    assert [await response.read() for response in responses] == [b"\x00", "ü".encode(), b"[1]", b"<a/>"]
    types = [response.content_type for response in responses]
    assert types == ["application/octet-stream", "text/plain", "application/json", "text/xml"]


async def test_a_compressed_answer_is_compressed_on_the_wire(model: FakeModel) -> None:
    model.on("/x", answer({"a": 1}, gzip=True))
    async with (
        aiohttp.ClientSession(auto_decompress=False) as raw,
        raw.get(f"{model.url}/x", headers={"Accept-Encoding": "gzip"}) as response,
    ):
        body = await response.read()
    assert response.headers["Content-Encoding"] == "gzip"
    assert int(response.headers["Content-Length"]) == len(body)
    assert json.loads(gzip.decompress(body)) == {"a": 1}


async def test_a_stream_is_sent_and_ended(http: aiohttp.ClientSession, model: FakeModel) -> None:
    model.on("/x", stream(["data: a\n\n", b"data: b\n\n"], headers={"X-Mine": "yes"}))
    async with http.get(f"{model.url}/x") as response:
        assert response.content_type == "text/event-stream"
        assert response.headers["X-Mine"] == "yes"
        assert await response.text() == "data: a\n\ndata: b\n\n"


async def test_a_test_can_answer_chunk_by_chunk(http: aiohttp.ClientSession, model: FakeModel) -> None:
    model.on("/x", by_hand)
    asked = asyncio.create_task(http.get(f"{model.url}/x"))
    request = await model.requests.next()
    await request.start(status=201)
    async with await asked as response:
        assert response.status == 201
        await request.send("one")
        assert await response.content.readany() == b"one"
        await request.send_event({"token": "two"})
        assert await response.content.readany() == b'data: {"token":"two"}\n\n'
        await request.send_event("[DONE]")
        await request.end()
        assert await response.read() == b"data: [DONE]\n\n"
    assert not request.gone.is_set()
    assert request.sent_bytes == 3 + 23 + 14


async def test_a_test_can_hold_an_answer_back(http: aiohttp.ClientSession, model: FakeModel) -> None:
    released = asyncio.Event()
    model.on("/x", after(released, answer("now")))
    asked = asyncio.create_task(http.get(f"{model.url}/x"))
    await model.requests.next()
    assert not asked.done()
    released.set()
    assert await (await asked).text() == "now"


async def test_a_second_answer_is_an_error_of_the_test(http: aiohttp.ClientSession, model: FakeModel) -> None:
    await (await http.get(model.url)).read()
    request = await model.requests.next()
    with pytest.raises(RuntimeError, match="answered already"):
        await request.answer("again")


async def test_a_connection_dropped_before_any_byte(http: aiohttp.ClientSession, model: FakeModel) -> None:
    model.on("/x", drop())
    with pytest.raises(aiohttp.ServerDisconnectedError):
        await http.post(f"{model.url}/x")
    assert not (await model.requests.next()).gone.is_set()


async def test_a_connection_reset(http: aiohttp.ClientSession, model: FakeModel) -> None:
    model.on("/x", drop(reset=True))
    with pytest.raises(aiohttp.ClientOSError) as caught:
        await http.post(f"{model.url}/x")
    assert isinstance(caught.value.__cause__ or caught.value, ConnectionResetError)


async def test_a_connection_dropped_in_mid_stream(http: aiohttp.ClientSession, model: FakeModel) -> None:
    model.on("/x", drop(["one", "two"]))
    async with http.get(f"{model.url}/x") as response:
        assert await response.content.readexactly(6) == b"onetwo"
        with pytest.raises(aiohttp.ClientPayloadError):
            await response.content.read()


async def test_a_client_that_leaves_is_noticed(model: FakeModel) -> None:
    model.on("/x", by_hand)
    async with aiohttp.ClientSession() as leaving:
        asked = asyncio.create_task(leaving.get(f"{model.url}/x"))
        request = await model.requests.next()
        asked.cancel()
        await asyncio.wait([asked])
        await asyncio.wait_for(request.gone.wait(), 5)


async def test_a_client_that_leaves_in_mid_stream_is_noticed(model: FakeModel) -> None:
    model.on("/x", by_hand)
    async with aiohttp.ClientSession() as leaving:
        asked = asyncio.create_task(leaving.get(f"{model.url}/x"))
        request = await model.requests.next()
        await request.send("one")
        (await asked).close()
        await asyncio.wait_for(request.gone.wait(), 5)


async def test_a_sender_is_held_up_by_a_client_that_does_not_read(
    http: aiohttp.ClientSession, model: FakeModel
) -> None:
    sent = asyncio.Event()

    async def flood(request: FakeRequest) -> None:
        for _ in range(1000):
            await request.send(bytes(100_000))
        sent.set()

    model.on("/x", flood)
    async with http.get(f"{model.url}/x") as response:
        assert not sent.is_set()
        assert len(await response.read()) == 100_000_000
    assert sent.is_set()


async def test_a_connection_is_kept_until_it_is_closed_while_idle(
    http: aiohttp.ClientSession, model: FakeModel
) -> None:
    for _ in range(2):
        await (await http.get(model.url)).read()
    assert [(request.connection, request.nth) for request in model.requests] == [(1, 1), (1, 2)]
    assert model.open_connections == 1
    assert model.close_idle() == 1
    assert model.open_connections == 0
    await (await http.get(model.url)).read()
    assert model.requests[-1].connection == 2


async def test_a_connection_with_a_request_on_it_is_not_idle(http: aiohttp.ClientSession, model: FakeModel) -> None:
    model.on("/x", by_hand)
    asked = asyncio.create_task(http.get(f"{model.url}/x"))
    request = await model.requests.next()
    assert model.close_idle() == 0
    await request.answer("fine")
    assert await (await asked).text() == "fine"


async def test_a_reused_connection_is_dropped(http: aiohttp.ClientSession, model: FakeModel) -> None:
    model.on("/x", drop_if_reused(answer("fine")))
    assert await (await http.post(f"{model.url}/x")).text() == "fine"
    with pytest.raises(aiohttp.ServerDisconnectedError):
        await http.post(f"{model.url}/x")
    assert await (await http.post(f"{model.url}/x")).text() == "fine"


async def test_connections_are_refused_until_it_listens(http: aiohttp.ClientSession) -> None:
    async with FakeModel(listening=False) as model:
        with pytest.raises(aiohttp.ClientConnectorError):
            await http.get(model.url)
        await model.listen()
        assert (await http.get(model.url)).status == 200


async def test_one_that_stops_listening_cuts_its_connections_and_can_come_back(http: aiohttp.ClientSession) -> None:
    async with FakeModel() as model:
        model.on("/x", by_hand)
        asked = asyncio.create_task(http.get(f"{model.url}/x"))
        await model.requests.next()
        await model.stop_listening()
        with pytest.raises(aiohttp.ClientError):
            await asked
        with pytest.raises(aiohttp.ClientConnectorError):
            await http.get(model.url)
        await model.listen()
        assert (await http.get(model.url)).status == 200


async def test_a_body_can_be_left_unread(http: aiohttp.ClientSession) -> None:
    async with FakeModel(read_bodies=False) as model:
        model.on("/x", by_hand)
        asked = asyncio.create_task(http.post(f"{model.url}/x", data=io.BytesIO(bytes(2_000_000))))
        request = await model.requests.next()
        assert request.body == b""
        while await request.read_some():
            pass
        await request.answer(str(len(request.body)))
        assert await (await asked).text() == "2000000"


async def test_a_client_that_leaves_in_the_middle_of_its_body_does_no_harm(model: FakeModel) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", model.port)
    writer.write(b"POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhalf")
    await writer.drain()
    writer.close()
    await writer.wait_closed()
    async with aiohttp.ClientSession() as http:
        assert (await http.get(model.url)).status == 200
    assert reader.at_eof() or not await reader.read()


async def test_a_plain_server_answers_404_where_nothing_was_said(http: aiohttp.ClientSession) -> None:
    async with FakeServer() as server:
        assert (await http.get(server.url)).status == 404


async def test_a_free_port_can_be_listened_on() -> None:
    ports = {free_port() for _ in range(50)}
    assert len(ports) > 1
    for port in ports:
        listener = await asyncio.start_server(lambda _reader, _writer: None, "127.0.0.1", port)
        listener.close()
        await listener.wait_closed()


# --- FakeModel ------------------------------------------------------------------------------------


async def test_a_model_is_healthy_or_not(http: aiohttp.ClientSession) -> None:
    async with FakeModel(healthy=False, health_path="/healthcheck") as model:
        assert (await http.get(f"{model.url}/healthcheck")).status == 503
        model.healthy = True
        assert (await http.get(f"{model.url}/healthcheck")).status == 200
        assert len(model.health_checks) == 2
        assert not model.requests


def test_a_model_writes_its_log(tmp_path: Path) -> None:
    model = FakeModel(log_path=tmp_path / "model.log")
    model.log("infer server ", end="")
    model.log("has started")
    assert (tmp_path / "model.log").read_text() == "infer server has started\n"


def test_a_model_without_a_log_says_so() -> None:
    with pytest.raises(RuntimeError, match="log_path"):
        FakeModel().log("x")


# --- FakeEngine -----------------------------------------------------------------------------------


def claims_of(auth_data: dict[str, object]) -> wire.AuthData:
    return wire.parse_auth_data(json.loads(json.dumps(auth_data)))


@pytest.mark.parametrize("scheme", [1, 3, 4])
async def test_its_signatures_hold_with_the_key_it_hands_out(http: aiohttp.ClientSession, scheme: int) -> None:
    async with FakeEngine() as engine:
        pem = await (await http.get(f"{engine.url}/pubkey/")).read()
        auth_data = claims_of(engine.sign(WORKER_URL, cost=242, scheme=scheme))
    assert verify_rsa(load_public_key(pem), auth_data.signature, rsa_message(scheme, auth_data))
    assert (auth_data.cost, type(auth_data.cost)) == (242, int)


async def test_a_changed_key_is_handed_out_and_signed_with(http: aiohttp.ClientSession, engine: FakeEngine) -> None:
    before = await (await http.get(f"{engine.url}/pubkey/")).read()
    engine.change_key()
    after_change = await (await http.get(f"{engine.url}/pubkey/")).read()
    auth_data = claims_of(engine.sign(WORKER_URL))
    assert not verify_rsa(load_public_key(before), auth_data.signature, rsa_message(4, auth_data))
    assert verify_rsa(load_public_key(after_change), auth_data.signature, rsa_message(4, auth_data))


def test_its_tickets_hold_with_its_ticket_key() -> None:
    engine = FakeEngine(clock_offset_s=1000.0)
    claims = claims_of(engine.ticket(WORKER_URL, age_s=10.0, life_s=60.0))
    ticket = read_ticket(claims.signature, claims, {engine.ticket_key.id: engine.ticket_key})
    assert ticket.issued_s == pytest.approx(time.time() + 990.0, abs=60.0)
    assert ticket.expires_s - ticket.issued_s == pytest.approx(60.0)


def test_a_ticket_of_another_key_does_not_hold() -> None:
    engine = FakeEngine()
    claims = claims_of(engine.ticket(WORKER_URL, key=TicketKey("test-key", b"another secret")))
    with pytest.raises(AuthenticationFailed):
        read_ticket(claims.signature, claims, {engine.ticket_key.id: engine.ticket_key})


def test_its_ticket_key_is_what_a_worker_reads_from_its_environment() -> None:
    engine = FakeEngine()
    assert WorkerSettings.from_env(engine.ticket_env()).ticket_keys == (engine.ticket_key,)


def test_numbers_count_up_and_can_be_given() -> None:
    engine = FakeEngine()
    first, second = engine.sign(WORKER_URL), engine.sign(WORKER_URL)
    assert second["reqnum"] == first["reqnum"] + 1
    assert second["request_idx"] == first["request_idx"] + 1
    given = engine.sign(WORKER_URL, endpoint="mine", reqnum=7, request_idx=0)
    assert (given["endpoint"], given["reqnum"], given["request_idx"]) == ("mine", 7, 0)


def test_an_envelope_is_what_a_worker_parses() -> None:
    engine = FakeEngine()
    body = json.dumps(engine.envelope(engine.sign(WORKER_URL), {"prompt": "x"}, session_id="s")).encode()
    envelope = wire.parse_envelope(body)
    assert envelope is not None
    assert (bytes(envelope.payload), envelope.session_id) == (b'{"prompt": "x"}', "s")


async def test_reports_are_kept_and_can_be_waited_for(http: aiohttp.ClientSession, engine: FakeEngine) -> None:
    waiting = asyncio.create_task(engine.reports.where(lambda report: report.cur_load == 7))
    for load in (5, 7):
        report = {"id": 1, "mtoken": "x", "cur_load": load}
        assert (await http.post(f"{engine.url}/worker_status/", json=report)).status == 200
    assert (await waiting).cur_load == 7
    assert [report.cur_load for report in engine.reports] == [5, 7]


async def test_a_report_it_fails_on_is_not_among_the_reports(http: aiohttp.ClientSession, engine: FakeEngine) -> None:
    report = {"id": 1, "mtoken": "x"}
    engine.on("/worker_status/", answer(status=500))
    assert (await http.post(f"{engine.url}/worker_status/", json=report)).status == 500
    assert not engine.reports
    engine.on("/worker_status/")
    assert (await http.post(f"{engine.url}/worker_status/", json=report)).status == 200
    assert len(engine.reports) == 1
    assert len(engine.requests) == 2


async def test_a_malformed_report_is_refused_with_its_reason(http: aiohttp.ClientSession, engine: FakeEngine) -> None:
    response = await http.post(f"{engine.url}/worker_status/", json={"id": "one"})
    assert response.status == 422
    assert await response.json() == {"id": "expected integer, got string", "mtoken": "missing parameter"}


async def test_another_mtoken_than_its_own_is_refused(http: aiohttp.ClientSession) -> None:
    async with FakeEngine(mtoken="right") as engine:
        answers = [
            (await http.post(f"{engine.url}/worker_status/", json={"id": 1, "mtoken": mtoken})).status
            for mtoken in ("wrong", "wröng", "right")
        ]
    assert answers == [401, 401, 200]
    assert len(engine.reports) == 1


async def test_finished_requests_are_kept_one_by_one(http: aiohttp.ClientSession, engine: FakeEngine) -> None:
    done = [{"request_idx": number, "success": True, "status": "Success"} for number in (3, 4)]
    message = {"worker_id": 1, "mtoken": "x", "requests": done}
    assert (await http.post(f"{engine.url}/delete_requests/", json=message)).status == 200
    assert (await engine.finished.where(lambda finished: finished.request_idx == 4)).success


async def test_its_date_is_that_of_its_clock(http: aiohttp.ClientSession) -> None:
    async with FakeEngine(clock_offset_s=3600.0) as engine:
        response = await http.get(f"{engine.url}/pubkey/")
    ahead_s = parsedate_to_datetime(response.headers["Date"]).timestamp() - time.time()
    assert ahead_s == pytest.approx(3600.0, abs=60.0)


# --- WorkerProcess --------------------------------------------------------------------------------

SERVER = """
import os, signal, subprocess, sys, time
from http.server import BaseHTTPRequestHandler, HTTPServer

class Answer(BaseHTTPRequestHandler):
    asked = 0
    def do_GET(self):
        Answer.asked += 1
        self.send_response(200 if Answer.asked > 2 else 503)
        self.end_headers()

def end(*_):
    print("draining")
    sys.exit(7)

signal.signal(signal.SIGTERM, end if "stubborn" not in sys.argv else signal.SIG_IGN)
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print("child", child.pid)
print("environment", {name: os.environ[name] for name in sys.argv[1:] if name in os.environ})
HTTPServer(("127.0.0.1", int(os.environ["WORKER_PORT"])), Answer).serve_forever()
"""


@pytest.fixture
def script(tmp_path: Path) -> str:
    path = tmp_path / "server.py"
    path.write_text(SERVER)
    return str(path)


async def test_a_process_is_ready_then_ends_as_asked(script: str) -> None:
    async with WorkerProcess([script]) as worker:
        await worker.ready()
        assert worker.status is None
        worker.terminate()
        assert await worker.ended() == 7
        assert worker.output[-1] == "draining"


async def test_a_process_that_answers_anything_is_up(script: str) -> None:
    async with WorkerProcess([script]) as worker:
        assert await worker.answers() == 503


async def test_a_process_can_be_killed(script: str) -> None:
    async with WorkerProcess([script]) as worker:
        await worker.answers()
        worker.kill()
        assert await worker.ended() == -signal.SIGKILL


async def test_a_process_that_does_not_end_when_asked_is_killed(script: str) -> None:
    async with WorkerProcess([script, "stubborn"], end_s=0.1) as worker:
        await worker.answers()
    assert worker.status == -signal.SIGKILL


async def test_what_a_process_started_is_gone_with_it(script: str) -> None:
    async with WorkerProcess([script]) as worker:
        child = (await worker.output.where(lambda line: line.startswith("child"))).split()[1]
    status = Path(f"/proc/{child}/stat")
    for _ in range(500):
        if not await asyncio.to_thread(lives, status):
            return
        await asyncio.sleep(0.01)
    pytest.fail("the child is still there")


def lives(status: Path) -> bool:
    try:
        return status.read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


async def test_a_process_gets_a_place_with_the_engine(script: str) -> None:
    async with FakeEngine(mtoken="secret") as engine:
        worker = WorkerProcess([script], engine=engine, env={"CONTAINER_ID": "42"})
    assert worker.env["REPORT_ADDR"] == engine.url
    assert worker.env["MASTER_TOKEN"] == engine.mtoken
    assert worker.env["CONTAINER_ID"] == "42"
    assert worker.env[f"VAST_TCP_PORT_{worker.port}"] == str(worker.port)
    assert "UNSECURED" not in worker.env


async def test_a_process_sees_the_environment_it_was_given(script: str) -> None:
    async with WorkerProcess([script, "MINE", "UNSECURED"], env={"MINE": "yes"}) as worker:
        line = await worker.output.where(lambda line: line.startswith("environment"))
    assert line == "environment {'MINE': 'yes', 'UNSECURED': 'true'}"


async def test_a_process_that_fails_to_start_shows_its_output() -> None:
    async with WorkerProcess(["-m", "no_such_module"]) as worker:
        with pytest.raises(RuntimeError, match="No module named no_such_module"):
            await worker.ready()


async def test_a_process_that_is_not_ready_in_time_shows_its_output(script: str) -> None:
    async with WorkerProcess([script]) as worker:
        await worker.answers()
        with pytest.raises(TimeoutError, match="child"):
            await worker.answers("/", status=404, wait_s=0.1)


async def test_a_command_is_run_as_it_is() -> None:
    async with WorkerProcess(["/bin/sh", "-c", "echo out; echo error >&2"]) as worker:
        assert await worker.ended() == 0
    assert worker.output == ["out", "error"]
