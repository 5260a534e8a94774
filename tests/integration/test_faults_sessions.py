"""Sessions over HTTP (the wire, section 5), and faults 28 and 32 of the field."""

from __future__ import annotations

import asyncio
import base64
import json
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from pyworker.testing import FakeModel, answer, by_hand, free_port
from pyworker.worker.core.gate import Mode
from pyworker.worker.core.ledger import Outcome
from tests.support.workers.handlers import Generate, pass_generate, payload
from tests.support.workers.kinds import every_kind, every_stream
from tests.support.workers.rig import Answered, Rig, a_worker, until


class Session:
    """An open session, as its client knows it."""

    def __init__(self, rig: Rig, auth: dict[str, Any], session_id: str) -> None:
        self.rig = rig
        self.auth = auth
        self.id = session_id

    async def call(self, what: str, **instead: Any) -> Answered:
        """``/session/<what>``."""
        query = {"session_id": self.id, "session_auth": self.auth, **instead}
        return await self.rig.send("POST", f"/session/{what}", json=query)

    async def expiration(self) -> float:
        """Epoch s."""
        return (await self.call("get")).json()["expiration"]

    def request(self, path: str = "/generate") -> asyncio.Task[Answered]:
        """A request in this session."""
        return self.rig.begin(path, payload(), auth=self.auth, session_id=self.id)


async def create(rig: Rig, auth: dict[str, Any] | None = None, **spec: Any) -> Answered:
    """``/session/create``."""
    return await rig.send("POST", "/session/create", json={"auth_data": auth or rig.auth(), "payload": spec})


async def open_session(rig: Rig, *, claims: dict[str, Any] | None = None, **spec: Any) -> Session:
    """A session that was created as it should be."""
    auth = rig.auth(**(claims or {}))
    created = await create(rig, auth, **spec)
    assert created.status == 201, created.body
    return Session(rig, auth, created.json()["session_id"])


@pytest.fixture
def short_lives(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sessions may live for less than a second."""
    monkeypatch.setattr("pyworker.worker.core.sessions.MIN_LIFETIME_S", 0.01)


# --- what is answered -----------------------------------------------------------------------------


async def test_a_session_is_created_asked_for_and_ended(tmp_path: Path) -> None:
    """The table, its fair-weather column."""
    async with a_worker(tmp_path, mode=Mode.TICKET) as rig:
        before_s = rig.engine.now_s()
        auth = rig.auth()
        created = await create(rig, auth, lifetime=120, on_close_route="/generate", on_close_payload={"a": [1]})
        assert created.status == 201
        assert set(created.json()) == {"session_id", "expiration"}
        session = Session(rig, auth, created.json()["session_id"])
        shown = await session.call("get")
        assert shown.status == 200
        page = shown.json()
        assert before_s <= page.pop("created_at") <= rig.engine.now_s()
        assert page.pop("expiration") == pytest.approx(before_s + 120, abs=10)
        assert page == {
            "session_id": session.id,
            "auth_data": auth,
            "lifetime": 120,
            "on_close_route": "/generate",
            "on_close_payload": {"a": [1]},
        }
        health = await session.call("health")
        assert (health.status, health.json()) == (200, {"ok": True})
        ended = await session.call("end")
        assert (ended.status, ended.json()) == (200, {"ended": True, "removed_session": session.id})
        assert (await session.call("get")).status == 400
        assert (await session.call("health")).json() == {"ok": False}
        assert (await session.call("end")).status == 410


@pytest.mark.parametrize(("what", "status"), [("get", 400), ("health", 200), ("end", 400)])
async def test_a_session_that_never_was(tmp_path: Path, what: str, status: int) -> None:
    """400, and its health is not well."""
    async with a_worker(tmp_path, mode=Mode.TICKET) as rig:
        answered = await Session(rig, rig.auth(), "nobody").call(what)
        assert answered.status == status
        assert "error" in answered.json() or answered.json() == {"ok": False}


@pytest.mark.parametrize("what", ["get", "health", "end"])
@pytest.mark.parametrize("wrong", [{"cost": 1.0}, {"signature": "bm8="}, {"reqnum": 0}], ids=repr)
async def test_who_is_not_the_owner_is_refused(tmp_path: Path, what: str, wrong: dict[str, Any]) -> None:
    """401."""
    async with a_worker(tmp_path, mode=Mode.TICKET) as rig:
        session = await open_session(rig)
        for other in ({**session.auth, **wrong}, {}, {"signature": session.auth["signature"]}, rig.auth()):
            assert (await session.call(what, session_auth=other)).status == 401
        assert (await session.call("health")).json() == {"ok": True}


@pytest.mark.parametrize("what", ["get", "health", "end"])
@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'{"session_id": 5}', b'{"session_id": "x"}'])
async def test_a_malformed_question_is_a_422(tmp_path: Path, what: str, body: bytes) -> None:
    """With a reason for each field."""
    async with a_worker(tmp_path) as rig:
        answered = await rig.send("POST", f"/session/{what}", data=body)
        assert answered.status == 422
        assert answered.json()


@pytest.mark.parametrize("lifetime", [0, 0.5, -1, 3601, 1e308, "60", True, [], 10**400], ids=str)
async def test_a_lifetime_that_cannot_be_is_a_422(tmp_path: Path, lifetime: Any) -> None:
    """From a second to an hour, and finite."""
    async with a_worker(tmp_path, mode=Mode.TICKET) as rig:
        auth = rig.auth()
        body = json.dumps({"auth_data": auth, "payload": {"lifetime": lifetime}})
        refused = await rig.send("POST", "/session/create", data=body)
        assert refused.status == 422
        assert "lifetime" in refused.body.decode() or "invalid JSON" in refused.body.decode()
        assert (await create(rig, auth, lifetime=1)).status == 201  # no ticket was spent


async def test_a_session_without_a_payload_lives_for_a_minute(tmp_path: Path) -> None:
    """Whatever is left out or null has its default."""
    async with a_worker(tmp_path) as rig:
        for message in ({}, {"payload": None}, {"payload": {"lifetime": None, "on_close_route": None}}):
            created = await rig.send("POST", "/session/create", json={"auth_data": rig.auth(), **message})
            assert created.status == 201
            assert created.json()["expiration"] == pytest.approx(rig.engine.now_s() + 60, abs=10)


async def test_no_more_sessions_than_the_worker_takes(tmp_path: Path) -> None:
    """429, and the ticket is still good."""
    async with a_worker(tmp_path, mode=Mode.TICKET, max_sessions=2) as rig:
        first, _ = await open_session(rig, lifetime=100), await open_session(rig)
        auth = rig.auth()
        refused = await create(rig, auth)
        assert refused.status == 429
        assert 50 < int(refused.headers["Retry-After"]) <= 60
        await first.call("end")
        assert (await create(rig, auth)).status == 201


async def test_a_worker_that_is_not_ready_opens_no_session(tmp_path: Path) -> None:
    """503, and the ticket is still good."""
    async with (
        FakeModel(listening=False) as model,
        a_worker(tmp_path, mode=Mode.TICKET, model=model, wait=False) as rig,
    ):
        auth = rig.auth()
        assert (await create(rig, auth)).status == 503
        await model.listen()
        await rig.ready()
        assert (await create(rig, auth)).status == 201


# --- 28: who may --------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", [Mode.TICKET, Mode.SIGNATURE], ids=["ticket", "signature"])
async def test_a_session_needs_a_proof(tmp_path: Path, mode: Mode) -> None:
    """Fault 28."""
    async with a_worker(tmp_path, mode=mode) as rig:
        assert (await create(rig, {**rig.auth(), "signature": "bm8="})).status == 401
        missing = await rig.send("POST", "/session/create", json={"payload": {}})
        assert (missing.status, missing.json()) == (422, {"auth_data": "missing parameter"})
        assert (await create(rig)).status == 201


async def test_a_session_spends_its_ticket(tmp_path: Path) -> None:
    """Fault 28: for other sessions and for requests outside of it."""
    async with a_worker(tmp_path, mode=Mode.TICKET) as rig:
        session = await open_session(rig)
        assert (await create(rig, session.auth)).status == 408
        assert (await rig.post("/generate", payload(), auth=session.auth)).status == 408


async def test_ids_of_sessions_cannot_be_guessed(tmp_path: Path) -> None:
    """Fault 28: 128 random bits."""
    async with a_worker(tmp_path) as rig:
        ids = {(await open_session(rig)).id for _ in range(20)}
        raw = [base64.urlsafe_b64decode(session_id + "==") for session_id in ids]
        assert [len(bits) for bits in raw] == [16] * 20
        assert all(len({bits[place] for bits in raw}) > 3 for place in range(16))


@every_kind
async def test_requests_in_a_session_need_no_new_ticket(tmp_path: Path, kind: Any) -> None:
    """Fault 28's other side."""
    async with a_worker(tmp_path, kind(), mode=Mode.TICKET) as rig:
        session = await open_session(rig)
        assert [(await session.request()).status for _ in range(3)] == [200] * 3
        await rig.settled(served=3)


async def test_a_badly_signed_request_neither_enters_nor_prolongs_a_session(tmp_path: Path) -> None:
    """Fault 28."""
    async with a_worker(tmp_path, mode=Mode.TICKET) as rig:
        session = await open_session(rig)
        until_s = await session.expiration()
        for other in ({**session.auth, "signature": "bm8="}, {**session.auth, "cost": 1.0}, rig.auth()):
            answered = await rig.post("/generate", payload(), auth=other, session_id=session.id)
            assert answered.status == 401
        assert await session.expiration() == until_s
        assert not rig.model.requests
        assert (await session.request()).status == 200
        assert await session.expiration() > until_s


@every_kind
async def test_a_request_in_a_session_that_is_not_open_is_a_410(tmp_path: Path, kind: Any) -> None:
    """Fault 28."""
    async with a_worker(tmp_path, kind(), mode=Mode.TICKET) as rig:
        session = await open_session(rig)
        await session.call("end")
        assert (await session.request()).status == 410
        assert (await rig.post("/generate", payload(), session_id="nobody")).status == 410
        await rig.settled()


async def test_a_plain_request_may_name_its_session_in_the_header(tmp_path: Path) -> None:
    """Fault 28."""
    async with a_worker(tmp_path, pass_generate(methods=("GET",)), mode=Mode.TICKET) as rig:
        session = await open_session(rig)
        for claims, status in ((session.auth, 200), (session.auth, 200), ({**session.auth, "cost": 1.0}, 401)):
            proof = json.dumps({**claims, "session_id": session.id}).encode()
            header = {"X-Auth-Data": base64.urlsafe_b64encode(proof).decode()}
            assert (await rig.send("GET", "/generate", headers=header)).status == status


# --- what a session is to the books ---------------------------------------------------------------


async def test_the_engine_hears_of_the_session_and_not_of_its_requests(tmp_path: Path) -> None:
    """It works on the session until that closes, which is then finished, once."""
    async with a_worker(tmp_path, mode=Mode.TICKET) as rig:
        session = await open_session(rig, claims={"request_idx": 88, "cost": 30.0})
        rig.model.on("/generate", by_hand)
        call = session.request()
        held = await rig.model.requests.next()
        busy = await rig.engine.reports.where(lambda report: (report.cur_load or 0) > 30)
        assert (busy.working_request_idxs, busy.cur_load) == ([88], 40.0)
        await held.answer({})
        await call
        assert not rig.engine.finished
        rig.engine.reports.clear()
        await session.call("end")
        told = await rig.engine.finished.next()
        assert (told.request_idx, told.status, told.success) == (88, "Success", True)
        await rig.engine.reports.where(lambda report: report.working_request_idxs == [] and report.cur_load == 0)
        await rig.settled(served=1)
        assert len(rig.engine.finished) == 1


async def test_an_open_session_makes_nobody_wait(tmp_path: Path) -> None:
    """Its cost is in the load, but not in the wait that yields 429."""
    async with a_worker(tmp_path, Generate(max_queue_time=1.0), fixed_throughput=1.0) as rig:
        await open_session(rig, claims={"cost": 1e6})
        assert (await rig.post("/generate", payload())).status == 200


# --- how a session ends ---------------------------------------------------------------------------


@every_kind
@pytest.mark.usefixtures("short_lives")
async def test_a_session_that_expires_cuts_its_requests_off(tmp_path: Path, kind: Any) -> None:
    """The one that waits for the model's first byte, and the one in the queue: 410."""
    async with a_worker(tmp_path, kind(), mode=Mode.TICKET, allow_parallel_requests=False) as rig:
        rig.model.on("/generate", by_hand)
        session = await open_session(rig, lifetime=0.2)
        calls = [session.request(), session.request()]
        held = await rig.model.requests.next()
        assert [(await call).status for call in calls] == [410, 410]
        await held.gone.wait()
        await rig.settled(cancelled=2)
        assert (await session.call("health")).json() == {"ok": False}
        rig.model.on("/generate", answer({}))
        assert (await rig.post("/generate", payload())).status == 200


@every_stream
async def test_a_session_that_is_ended_cuts_its_streams_off(tmp_path: Path, kind: Any) -> None:
    """In mid-stream the client sees an error, not an end."""
    async with a_worker(tmp_path, kind(), mode=Mode.TICKET) as rig:
        rig.model.on("/generate_stream", by_hand)
        session = await open_session(rig)
        call = asyncio.create_task(rig.open("/generate_stream", payload(), auth=session.auth, session_id=session.id))
        held = await rig.model.requests.next()
        await held.send("data: one\n\n")
        async with await call as response:
            assert await response.content.readany() == b"data: one\n\n"
            await session.call("end")
            with pytest.raises(aiohttp.ClientPayloadError):
                await response.read()
        await held.gone.wait()
        await rig.settled(cancelled=1)


@pytest.mark.parametrize("given", [{"job": 7}, {}, None, [1, 2], "text"], ids=repr)
async def test_the_models_close_route_is_called_with_the_sessions_id(tmp_path: Path, given: Any) -> None:
    """Fault 32's other side."""
    async with a_worker(tmp_path, Generate(), Generate(route="/close"), mode=Mode.TICKET) as rig:
        session = await open_session(rig, on_close_route="/close", on_close_payload=given)
        await session.call("end")
        call = await rig.model.requests.next()
        assert (call.method, call.path) == ("POST", "/close")
        assert call.json() == {**(given if isinstance(given, dict) else {}), "session_id": session.id}


@pytest.mark.usefixtures("short_lives")
async def test_the_close_route_is_called_when_a_session_expires(tmp_path: Path) -> None:
    """And whatever the model makes of it, the session is closed."""
    async with a_worker(tmp_path, Generate(route="/close"), mode=Mode.TICKET) as rig:
        rig.model.on("/close", answer(status=500))
        session = await open_session(rig, lifetime=0.05, on_close_route="/close")
        await rig.model.requests.next()
        assert (await session.call("end")).status == 410


async def test_a_close_call_that_hangs_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is best effort, with a limit."""
    monkeypatch.setattr("pyworker.worker.open_sessions.CLOSE_CALL_S", 0.05)
    async with a_worker(tmp_path, Generate(route="/close"), mode=Mode.TICKET) as rig:
        rig.model.on("/close", by_hand)
        session = await open_session(rig, on_close_route="/close")
        assert (await session.call("end")).status == 200
        await (await rig.model.requests.next()).gone.wait()


@pytest.mark.parametrize(
    "route",
    [
        "http://169.254.169.254/latest/meta-data",
        "https://example.org/",
        "//example.org/x",
        "/../admin",
        "/generate/../admin",
        "/generate?to=http://example.org",
        "/%2e%2e/admin",
        "/admin",
        "generate",
        "",
        "\\\\example.org",
        "/generate\r\nX: y",
        5,
        ["/generate"],
    ],
)
async def test_no_close_route_but_the_workers_own_is_taken(tmp_path: Path, route: Any) -> None:
    """Fault 32."""
    async with a_worker(tmp_path, mode=Mode.TICKET) as rig:
        auth = rig.auth()
        refused = await create(rig, auth, on_close_route=route)
        assert refused.status == 422
        assert "on_close_route" in refused.json()["payload"]
        assert (await create(rig, auth, on_close_route="/generate")).status == 201


async def test_a_close_route_may_be_one_that_the_author_listed(tmp_path: Path) -> None:
    """The wire, section 5: the worker need not serve it."""
    async with a_worker(tmp_path, mode=Mode.TICKET, close_routes=["/api/forget"]) as rig:
        assert (await create(rig, rig.auth(), on_close_route="/api/remember")).status == 422
        session = await open_session(rig, on_close_route="/api/forget", on_close_payload={"all": True})
        assert (await session.call("end")).status == 200
        called = await rig.model.requests.next()
        assert (called.path, called.json()) == ("/api/forget", {"all": True, "session_id": session.id})
        assert (await rig.post("/api/forget", payload())).status == 404


async def test_a_worker_that_drains_closes_its_sessions_at_the_limit(tmp_path: Path) -> None:
    """It waits for them first, and their close routes are called."""
    async with FakeModel() as model:
        async with a_worker(
            tmp_path, Generate(route="/close"), mode=Mode.TICKET, model=model, settings={"drain_s": 0.1}
        ) as rig:
            await open_session(rig, claims={"request_idx": 31}, on_close_route="/close")
        assert [request.path for request in model.requests] == ["/close"]
        assert [told.request_idx for told in rig.engine.finished] == [31]


async def test_a_worker_that_drains_ends_when_its_last_session_is_ended(tmp_path: Path) -> None:
    """And does not wait for the limit."""
    async with a_worker(tmp_path, mode=Mode.TICKET, settings={"drain_s": 3600.0}) as rig:
        session = await open_session(rig)
        ending = asyncio.create_task(session.call("end"))
    assert (await ending).status == 200


# --- the plain HTTP port --------------------------------------------------------------------------


async def test_a_session_can_be_ended_over_plain_http_on_loopback(tmp_path: Path) -> None:
    """For a model server's callbacks; nothing else of the worker is served there."""
    port = free_port()
    async with a_worker(tmp_path, mode=Mode.TICKET, settings={"http_port": port}) as rig:
        session = await open_session(rig)
        url = f"http://127.0.0.1:{port}"
        query = {"session_id": session.id, "session_auth": session.auth}
        for path in ("/generate", "/session/create", "/session/get"):
            async with rig.http.post(url + path, json=query) as refused:
                assert refused.status == 404
        async with rig.http.post(f"{url}/session/end", json={**query, "session_auth": rig.auth()}) as refused:
            assert refused.status == 401
        async with rig.http.post(f"{url}/session/end", json=query) as ended:
            assert (ended.status, await ended.json()) == (200, {"ended": True, "removed_session": session.id})


async def test_a_plain_port_that_is_taken_is_done_without(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """With a word in the log."""
    async with FakeModel() as other, a_worker(tmp_path, settings={"http_port": other.port}) as rig:
        assert (await rig.post("/generate", payload())).status == 200
        assert str(other.port) in caplog.text


async def test_ending_a_session_twice_at_once_closes_it_once(tmp_path: Path) -> None:
    """Fault 26's sister: it is told finished once."""
    async with a_worker(tmp_path, Generate(route="/close"), mode=Mode.TICKET) as rig:
        session = await open_session(rig, claims={"request_idx": 12}, on_close_route="/close")
        answers = await asyncio.gather(*(session.call("end") for _ in range(5)))
        assert sorted(answered.status for answered in answers) == [200, 410, 410, 410, 410]
        await rig.engine.finished.next()
        await until(lambda: rig.model.requests)
        assert (len(rig.engine.finished), len(rig.model.requests)) == (1, 1)
        assert rig.runtime.books.ledger.settled[Outcome.SERVED].requests == 0


@every_kind
async def test_an_open_session_goes_on_while_its_worker_drains_and_nothing_else_does(tmp_path: Path, kind: Any) -> None:
    async with a_worker(tmp_path, kind(), mode=Mode.TICKET, settings={"drain_s": 3600.0}) as rig:
        session = await open_session(rig)
        draining = asyncio.create_task(rig.runtime.drain(3600.0))
        await asyncio.sleep(0)  # it has begun
        assert (await session.request()).status == 200
        assert (await rig.begin("/generate", payload(), auth=rig.auth())).status == 503
        assert (await create(rig)).status == 503
        assert (await session.call("end")).status == 200
        await draining
