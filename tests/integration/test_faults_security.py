"""Faults of the field, 29 and 30: who is let in. (Sessions and the log, 28, 31 and 32, have files of their own.)"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, Literal

import pytest
from yarl import URL

from pyworker.handlers import PassThroughHandler
from pyworker.testing import FakeEngine, FakeModel, answer, by_hand
from pyworker.tickets import TicketKey
from pyworker.wire import dump_auth_header, parse_auth_data
from pyworker.worker.core.gate import Mode
from tests.support.workers.handlers import Generate, pass_generate, payload
from tests.support.workers.rig import MTOKEN, Rig, a_worker, until

both_modes = pytest.mark.parametrize("mode", [Mode.TICKET, Mode.SIGNATURE], ids=["ticket", "signature"])
in_every_mode = pytest.mark.parametrize("mode", list(Mode), ids=[mode.value for mode in Mode])


@pytest.fixture(autouse=True)
def _ask_for_the_key_whenever_it_helps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pyworker.worker.reporting.engine_link.KEY_AGAIN_S", 0.0)


async def status(rig: Rig, auth: dict[str, Any], **kwargs: Any) -> int:
    """What a request with this proof is answered."""
    return (await rig.post("/generate", payload(), auth=auth, **kwargs)).status


@in_every_mode
async def test_a_request_that_the_engine_sent_is_served(tmp_path: Path, mode: Mode) -> None:
    """Fault 29's other side."""
    async with a_worker(tmp_path, Generate(), mode=mode) as rig:
        assert await status(rig, rig.auth()) == 200


@both_modes
@pytest.mark.parametrize("signature", ["", "bm8=", "x" * 400, "ü", "\x00"])
async def test_a_request_without_a_proof_is_a_401_that_does_not_say_why(
    tmp_path: Path, mode: Mode, signature: str
) -> None:
    """Fault 29: every reason alike."""
    async with a_worker(tmp_path, mode=mode) as rig:
        refused = await rig.post("/generate", payload(), auth={**rig.auth(), "signature": signature})
        assert refused.status == 401
        assert refused.json() == {"error": "The request is not signed by the engine for this worker."}
        assert not rig.model.requests
        await rig.settled()


# --- tickets --------------------------------------------------------------------------------------


async def test_a_ticket_is_good_once(tmp_path: Path) -> None:
    """Fault 29."""
    async with a_worker(tmp_path, mode=Mode.TICKET) as rig:
        ticket = rig.auth()
        assert [await status(rig, ticket) for _ in range(3)] == [200, 408, 408]
        assert len(rig.model.requests) == 1


async def test_a_ticket_that_comes_many_times_at_once_is_good_once(tmp_path: Path) -> None:
    """Fault 29."""
    async with a_worker(tmp_path, mode=Mode.TICKET) as rig:
        ticket = rig.auth()
        answers = await asyncio.gather(*(status(rig, ticket) for _ in range(10)))
        assert sorted(answers) == [200] + [408] * 9
        await rig.settled(served=1)


@pytest.mark.parametrize(
    "other", [{"cost": 1.0}, {"cost": 100}, {"endpoint": "other"}, {"reqnum": 99}, {"request_idx": 99}], ids=repr
)
async def test_a_ticket_is_good_for_what_it_says(tmp_path: Path, other: dict[str, Any]) -> None:
    """Fault 29: a cost of 100 is one of 100.0, and nothing else may differ."""
    async with a_worker(tmp_path, mode=Mode.TICKET) as rig:
        ticket = rig.auth(cost=100.0, endpoint="mine", reqnum=5, request_idx=6)
        assert await status(rig, {**ticket, **other}) == (200 if other == {"cost": 100} else 401)


@both_modes
async def test_a_proof_for_another_worker_is_refused(tmp_path: Path, mode: Mode) -> None:
    """Fault 29."""
    async with a_worker(tmp_path, mode=mode) as rig:
        make = rig.engine.ticket if mode is Mode.TICKET else rig.engine.sign
        theirs = make("http://127.0.0.1:1")
        assert await status(rig, theirs) == 401
        assert await status(rig, {**theirs, "url": rig.url}) == 401


@pytest.mark.parametrize(("age_s", "answered"), [(0.0, 200), (200.0, 408), (3600.0, 408), (-3600.0, 408)])
async def test_a_ticket_is_good_for_a_minute(tmp_path: Path, age_s: float, answered: int) -> None:
    """Fault 29: neither an hour later, nor before its time."""
    async with a_worker(tmp_path, mode=Mode.TICKET) as rig:
        assert await status(rig, rig.auth(age_s=age_s)) == answered


async def test_a_ticket_issued_before_the_worker_was_started_is_refused(tmp_path: Path) -> None:
    """Fault 29: it may have been spent at the one before."""
    async with a_worker(tmp_path, mode=Mode.TICKET) as rig:
        assert await status(rig, rig.auth(age_s=20.0)) == 408


@pytest.mark.parametrize("offset_s", [-500.0, 500.0])
async def test_tickets_are_measured_by_the_engines_clock(tmp_path: Path, offset_s: float) -> None:
    """Fault 29: the worker's own may be wrong."""
    async with (
        FakeEngine(mtoken=MTOKEN, clock_offset_s=offset_s) as engine,
        a_worker(tmp_path, mode=Mode.TICKET, engine=engine) as rig,
    ):
        await until(lambda: rig.runtime.gate.clock.offset_s, "the worker has heard the engine's clock")
        to_the_second = 1.0  # is all that Date says, so this is how sure one can be of a ticket issued after the start
        assert await status(rig, rig.auth(age_s=-to_the_second)) == 200
        assert await status(rig, rig.auth(age_s=200.0)) == 408


async def test_a_ticket_of_another_key_is_refused(tmp_path: Path) -> None:
    """Fault 29."""
    async with a_worker(tmp_path, mode=Mode.TICKET) as rig:
        for key in (TicketKey("test-key", b"x" * 32), TicketKey("other", rig.engine.ticket_key.secret)):
            assert await status(rig, rig.auth(key=key)) == 401


async def test_tickets_of_an_old_and_a_new_key_are_good_while_keys_change(tmp_path: Path) -> None:
    """Fault 29."""
    old, new = TicketKey("old", b"o" * 32), TicketKey("new", b"n" * 32)
    async with a_worker(tmp_path, mode=Mode.TICKET, settings={"ticket_keys": (old, new)}) as rig:
        assert [await status(rig, rig.auth(key=key)) for key in (old, new)] == [200, 200]


async def test_a_worker_with_a_ticket_key_takes_no_signature(tmp_path: Path) -> None:
    """Fault 29."""
    async with a_worker(tmp_path, mode=Mode.TICKET) as rig:
        assert await status(rig, rig.engine.sign(rig.url)) == 401


async def test_a_ticket_that_was_answered_429_is_still_good(tmp_path: Path) -> None:
    """Fault 29: it is spent when the request is admitted."""
    async with a_worker(tmp_path, Generate(max_queue_time=0.0), mode=Mode.TICKET, fixed_throughput=1.0) as rig:
        rig.model.on("/generate", by_hand, answer({}))
        first = rig.begin("/generate", payload())
        held = await rig.model.requests.next()
        ticket = rig.auth()
        assert await status(rig, ticket) == 429
        await held.answer({})
        assert (await first).status == 200
        assert await status(rig, ticket) == 200
        assert await status(rig, ticket) == 408


async def test_a_ticket_whose_request_waited_too_long_is_still_good(tmp_path: Path) -> None:
    """Fault 29."""
    handler = Generate(max_queue_time=0.05)
    async with a_worker(tmp_path, handler, mode=Mode.TICKET, allow_parallel_requests=False) as rig:
        rig.model.on("/generate", by_hand, answer({}))
        first = rig.begin("/generate", payload())
        held = await rig.model.requests.next()
        ticket = rig.auth()
        assert await status(rig, ticket) == 429
        await held.answer({})
        assert (await first).status == 200
        assert await status(rig, ticket) == 200


async def test_a_ticket_that_was_answered_503_is_still_good(tmp_path: Path) -> None:
    """Fault 29."""
    async with (
        FakeModel(listening=False) as model,
        a_worker(tmp_path, mode=Mode.TICKET, model=model, wait=False) as rig,
    ):
        ticket = rig.auth()
        assert await status(rig, ticket) == 503
        await model.listen()
        await rig.ready()
        assert await status(rig, ticket) == 200


async def test_a_request_that_is_malformed_spends_no_ticket(tmp_path: Path) -> None:
    """Fault 29."""
    async with a_worker(tmp_path, mode=Mode.TICKET) as rig:
        ticket = rig.auth()
        assert (await rig.post("/generate", {"max_response_tokens": 1}, auth=ticket)).status == 422
        assert await status(rig, ticket) == 200


async def test_a_ticket_in_the_header_is_checked_before_the_body_is_read(tmp_path: Path) -> None:
    """Fault 29: and is good once, too."""
    async with a_worker(tmp_path, pass_generate(), mode=Mode.TICKET) as rig:
        good = dump_auth_header(parse_auth_data(rig.auth()))
        bad = dump_auth_header(parse_auth_data({**rig.auth(), "signature": "bm8"}))
        reader, writer = await asyncio.open_connection("127.0.0.1", rig.worker.port)
        writer.write(f"POST /generate HTTP/1.1\r\nHost: w\r\nX-Auth-Data: {bad}\r\nContent-Length: 9\r\n\r\n".encode())
        assert (await reader.readline()).split()[1] == b"401"
        writer.close()
        answers = [await rig.send("POST", "/generate", data=b"x", headers={"X-Auth-Data": good}) for _ in range(2)]
        assert [answered.status for answered in answers] == [200, 408]


@both_modes
async def test_a_plain_request_without_its_proof_in_the_header_is_refused(tmp_path: Path, mode: Mode) -> None:
    """Fault 29."""
    async with a_worker(tmp_path, pass_generate(methods=("POST", "GET")), mode=mode) as rig:
        assert (await rig.send("GET", "/generate")).status == 401
        headers = {"Content-Type": "application/octet-stream"}
        assert (await rig.send("POST", "/generate", data=b"x", headers=headers)).status == 401
        assert (await rig.send("GET", "/generate", headers={"X-Auth-Data": "no base64!"})).status == 422


async def test_who_is_refused_often_does_not_fill_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pyworker.worker.inbound.answers.EVERY_S", 3600.0)
    async with a_worker(tmp_path, pass_generate(), Generate(route="/authored"), mode=Mode.TICKET) as rig:
        for _ in range(20):
            for path in ("/generate", "/authored"):
                assert (await rig.send("POST", path, data=b"x", headers={"Content-Type": "a/b"})).status == 401
        assert (await rig.send("GET", "/pyworker/ready", headers={"Forwarded": "for=::1"})).status == 401
    told = [record.getMessage() for record in caplog.records if record.name == "pyworker.answers"]
    assert told == [
        "refused POST /generate: no X-Auth-Data on a request that is no envelope",
        "refused GET /pyworker/ready: no mtoken, or a wrong one",
        "and 39 more: no X-Auth-Data on a request that is no envelope",
    ]


async def test_a_flood_is_told_as_a_number_while_it_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pyworker.worker.inbound.answers.EVERY_S", 0.01)
    async with a_worker(tmp_path, mode=Mode.TICKET) as rig:
        while "more: " not in caplog.text:
            await asyncio.gather(*(rig.send("GET", "/pyworker/ready", headers={"Forwarded": "x"}) for _ in range(20)))


async def test_a_path_is_logged_as_it_was_sent(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Nobody writes a line of the log by asking for it."""
    routes = [PassThroughHandler("/pt/{x}", methods=("GET",)), pass_generate()]
    async with a_worker(tmp_path, *routes, mode=Mode.TICKET) as rig:
        url = URL(f"{rig.url}/pt/a%E2%80%A82026-11-24%2015:00:00.000%20CRITICAL", encoded=True)
        async with rig.http.get(url) as answered:
            assert answered.status == 401
        async with rig.http.get(URL(f"{rig.url}/pt/a%0Aforged", encoded=True)) as answered:
            assert answered.status == 400
    (told,) = [record.getMessage() for record in caplog.records if record.name == "pyworker.answers"]
    assert told.startswith("refused GET /pt/a%E2%80%A82026-11-24%2015:00:00.000%20CRITICAL: ")


# --- signatures -----------------------------------------------------------------------------------


async def test_scheme_4_is_good_any_number_of_times(tmp_path: Path) -> None:
    """Fault 29: it signs nothing but the address, which is why there are tickets."""
    async with a_worker(tmp_path, mode=Mode.SIGNATURE) as rig:
        signed = rig.auth(scheme=4)
        assert [await status(rig, signed) for _ in range(3)] == [200] * 3


@pytest.mark.parametrize("scheme", [1, 3])
async def test_schemes_1_and_3_are_good_once_and_not_far_behind(tmp_path: Path, scheme: Literal[1, 3]) -> None:
    """Fault 29."""
    async with a_worker(tmp_path, mode=Mode.SIGNATURE) as rig:
        late = rig.auth(scheme=scheme, reqnum=1)
        signed = rig.auth(scheme=scheme, reqnum=150)
        assert [await status(rig, signed) for _ in range(2)] == [200, 408]
        assert await status(rig, late) == 408
        assert await status(rig, rig.auth(scheme=scheme, reqnum=50)) == 200
        assert await status(rig, {**rig.auth(scheme=scheme, reqnum=160), "cost": 1.0}) == 401


async def test_a_cost_is_checked_as_it_was_written(tmp_path: Path) -> None:
    """Fault 29: 242 is not 242.0."""
    async with a_worker(tmp_path, mode=Mode.SIGNATURE) as rig:
        signed = rig.auth(scheme=1, cost=242)
        assert await status(rig, {**signed, "cost": 242.0}) == 401
        assert await status(rig, signed) == 200


async def test_a_signed_request_of_an_old_client_without_request_idx_is_served(tmp_path: Path) -> None:
    """Fault 29: and the whole answer of /route/ may be passed on."""
    async with a_worker(tmp_path, mode=Mode.SIGNATURE) as rig:
        signed = rig.auth(scheme=1)
        del signed["request_idx"]
        assert await status(rig, {**signed, "__request_id": "1-2-3", "unknown": None}) == 200


# --- the engine's key -----------------------------------------------------------------------------


async def test_a_new_key_of_the_engine_is_fetched_when_a_signature_does_not_hold(tmp_path: Path) -> None:
    """Fault 30."""
    async with a_worker(tmp_path, mode=Mode.SIGNATURE) as rig:
        old = rig.auth()
        assert await status(rig, old) == 200
        rig.engine.change_key()
        assert await status(rig, rig.auth()) == 200
        assert await status(rig, old) == 401


async def test_bad_signatures_do_not_make_the_worker_ask_for_the_key_each_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fault 30: at most every ten seconds."""
    monkeypatch.setattr("pyworker.worker.reporting.engine_link.KEY_AGAIN_S", 10.0)
    async with a_worker(tmp_path, mode=Mode.SIGNATURE) as rig:
        for _ in range(20):
            assert await status(rig, {**rig.auth(), "signature": "bm8="}) == 401
        assert len([request for request in rig.engine.requests if request.path == "/pubkey/"]) == 1


async def test_while_the_key_is_not_known_requests_are_told_to_come_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fault 30: the worker has started all the same, nothing blocks."""
    monkeypatch.setattr("pyworker.worker.reporting.engine_link.TIMEOUT_S", 0.1)
    async with FakeEngine(mtoken=MTOKEN) as engine:
        engine.on("/pubkey/", by_hand)
        async with a_worker(tmp_path, mode=Mode.SIGNATURE, engine=engine, wait=False) as rig:
            await rig.ready()
            refused = await rig.post("/generate", payload(), auth=rig.auth())
            assert refused.status == 503
            assert "key" in refused.json()["error"]
            engine.on("/pubkey/", answer(b"no key", status=200), answer(status=500))
            assert await status(rig, rig.auth()) == 503


async def test_the_key_is_asked_of_every_address(tmp_path: Path) -> None:
    """Fault 30: REPORT_ADDR is a list."""
    async with FakeEngine(listening=False) as away, FakeEngine(mtoken=MTOKEN) as engine:
        settings = {"report_addrs": (away.url, engine.url)}
        async with a_worker(tmp_path, mode=Mode.SIGNATURE, engine=engine, settings=settings) as rig:
            assert await status(rig, rig.auth()) == 200
