"""Faults of the field, 25 to 27: what the engine is told is neither lost nor told twice."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from yarl import URL

from pyworker.backend import Handler
from pyworker.handlers import PassThroughHandler
from pyworker.testing import FakeEngine, FakeRequest, Seen, after, answer, by_hand, drop
from pyworker.wire import DeleteRequests, WorkerStatus, dump_auth_header, parse, parse_auth_data
from pyworker.worker.core.gate import Mode
from tests.support.workers.handlers import Generate, payload
from tests.support.workers.rig import MTOKEN, Rig, a_worker, until

REPORTS, FINISHED = "/worker_status/", "/delete_requests/"


@pytest.fixture(autouse=True)
def _give_up_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pyworker.worker.reporting.engine_link.TIMEOUT_S", 0.2)


def new_load(reports: Seen[WorkerStatus]) -> float:
    """All the workload that these reports call new."""
    return sum(report.new_load or 0.0 for report in reports)


async def serve(rig: Rig, requests: int, *, first_idx: int = 1) -> None:
    """Let the worker serve so many requests of 10 tokens."""
    for idx in range(first_idx, first_idx + requests):
        assert (await rig.post("/generate", payload(), auth=rig.auth(request_idx=idx))).status == 200


async def test_workload_that_arrives_while_a_report_is_in_the_air_is_in_the_next_one(tmp_path: Path) -> None:
    """Fault 25."""
    async with a_worker(tmp_path) as rig:
        reports: Seen[WorkerStatus] = Seen()
        landing = asyncio.Event()

        async def take(request: FakeRequest) -> None:
            reports.append(parse(request.body, WorkerStatus))
            await request.answer({"success": True})

        rig.engine.on(REPORTS, after(landing, take))
        rig.engine.requests.clear()
        await serve(rig, 2)
        await rig.engine.requests.where(lambda request: request.path == REPORTS)
        await serve(rig, 3)
        landing.set()
        rig.engine.on(REPORTS, take)
        await until(lambda: new_load(reports) >= 50.0)
        assert new_load(reports) == 50.0
        assert sum(report.cur_perf or 0.0 for report in reports) == 50.0


@pytest.mark.parametrize("fails", [answer(status=500), answer(status=429), drop(), by_hand])
async def test_the_numbers_of_a_report_that_fails_are_in_the_next_one(tmp_path: Path, fails: object) -> None:
    """Fault 26."""
    async with a_worker(tmp_path) as rig:
        rig.engine.on(REPORTS, fails)  # type: ignore[arg-type]
        rig.engine.requests.clear()
        await serve(rig, 2)
        for _ in range(2):
            await rig.engine.requests.where(lambda request: request.path == REPORTS)
            rig.engine.requests.clear()
        rig.engine.reports.clear()
        rig.engine.on(REPORTS)
        report = await rig.engine.reports.where(lambda report: report.new_load)
        assert (report.new_load, report.cur_perf) == (20.0, 20.0)


async def test_what_is_told_adds_up_over_an_unsteady_engine(tmp_path: Path) -> None:
    """Fault 26: reports fail again and again, and rejected and cancelled requests are in it too."""
    async with a_worker(tmp_path, Generate(max_queue_time=0.0), fixed_throughput=1.0) as rig:
        for _ in range(5):
            rig.engine.on(REPORTS, answer(status=503), drop())
            rig.model.on("/generate", by_hand, answer({}))
            cancelled = rig.begin("/generate", payload())
            held = await rig.model.requests.next()
            assert (await rig.post("/generate", payload())).status == 429
            cancelled.cancel()
            await held.gone.wait()
            await until(lambda: not rig.runtime.books.ledger.in_flight_count)
            await serve(rig, 1)
            rig.model.requests.clear()
            rig.engine.on(REPORTS)
        await until(lambda: new_load(rig.engine.reports) >= 50.0)
        await until(lambda: sum(report.rej_load or 0.0 for report in rig.engine.reports) >= 50.0)
        assert new_load(rig.engine.reports) == 50.0
        assert sum(report.rej_load or 0.0 for report in rig.engine.reports) == 50.0
        assert sum(report.cur_perf or 0.0 for report in rig.engine.reports) == 50.0
        await rig.settled(served=5, rejected=5, cancelled=5)


@pytest.mark.parametrize("fails", [answer(status=500), drop(), by_hand])
async def test_a_finished_request_is_told_until_it_is_accepted_and_then_no_more(tmp_path: Path, fails: object) -> None:
    """Fault 26."""
    async with a_worker(tmp_path) as rig:
        rig.engine.on(FINISHED, fails)  # type: ignore[arg-type]
        await serve(rig, 5)
        await rig.engine.requests.where(lambda request: request.path == FINISHED)
        await serve(rig, 5, first_idx=6)
        rig.engine.on(FINISHED)
        await rig.engine.finished.at_least(10)
        await serve(rig, 1, first_idx=11)
        await rig.engine.finished.where(lambda request: request.request_idx == 11)
        assert Counter(request.request_idx for request in rig.engine.finished) == dict.fromkeys(range(1, 12), 1)


async def test_a_finished_request_says_when_it_came_began_and_ended(tmp_path: Path) -> None:
    """Fault 26: epoch seconds, in this order."""
    async with a_worker(tmp_path) as rig:
        before_s = rig.engine.now_s()
        await serve(rig, 1)
        told = await rig.engine.finished.next()
        assert told.entered_queue_at is not None
        assert told.work_started_at is not None
        assert told.work_completed_at is not None
        assert before_s - 1 < told.entered_queue_at <= told.work_started_at
        assert told.work_started_at <= told.work_completed_at < rig.engine.now_s() + 1
        message = await rig.engine.requests.where(lambda request: request.path == FINISHED)
        assert parse(message.body, DeleteRequests).worker_id == 4711


async def test_a_request_that_is_not_let_in_is_in_no_report(tmp_path: Path) -> None:
    """Fault 26: neither in the books, nor finished."""
    async with a_worker(tmp_path, mode=Mode.SIGNATURE) as rig:
        unsigned = {**rig.auth(request_idx=5), "signature": "bm8="}
        assert (await rig.post("/generate", payload(), auth=unsigned)).status == 401
        assert (await rig.post("/generate", {"max_response_tokens": 1}, auth=rig.auth(request_idx=6))).status == 422
        assert (await rig.post("/generate", payload(), auth=rig.auth(request_idx=7))).status == 200
        await rig.engine.finished.next()
        assert [request.request_idx for request in rig.engine.finished] == [7]
        await rig.settled(served=1)


@pytest.mark.parametrize(
    "handler", [PassThroughHandler("/pt/{x}"), Generate(route="/pt/{x}")], ids=["passed", "authored"]
)
@pytest.mark.parametrize("in_header", [False, True])
async def test_a_bad_path_parameter_is_in_no_book_and_leaves_the_ticket_good(
    tmp_path: Path, handler: Handler, in_header: bool
) -> None:
    """It is its client's fault, and must not count against the worker."""
    async with a_worker(tmp_path, handler, mode=Mode.TICKET) as rig:
        auth = rig.auth(request_idx=7)
        sent: dict[str, Any] = {"json": rig.envelope(payload(), auth=auth)}
        if in_header:
            sent = {"json": payload(), "headers": {"X-Auth-Data": dump_auth_header(parse_auth_data(auth))}}
        async with rig.http.post(URL(f"{rig.url}/pt/%2e%2e", encoded=True), **sent) as bad:
            assert (bad.status, "path parameter" in (await bad.json())["error"]) == (400, True)
        assert rig.runtime.books.ledger.received.requests == 0
        rig.model.on("/pt/a")
        assert (await rig.send("POST", "/pt/a", **sent)).status == 200
        await rig.engine.finished.next()
        assert [(request.request_idx, request.status) for request in rig.engine.finished] == [(7, "Success")]
        await rig.settled(served=1)


async def test_a_worker_lists_what_it_works_on_and_stops_when_it_is_done(tmp_path: Path) -> None:
    """Fault 26."""
    async with a_worker(tmp_path) as rig:
        rig.model.on("/generate", by_hand)
        call = rig.begin("/generate", payload(), auth=rig.auth(request_idx=42))
        busy = await rig.engine.reports.where(lambda report: report.working_request_idxs == [42])
        assert (busy.cur_load, busy.num_requests_working, busy.num_requests_recieved) == (10.0, 1, 1)
        rig.engine.reports.clear()
        await rig.model.requests[0].answer({})
        await call
        idle = await rig.engine.reports.where(lambda report: report.working_request_idxs == [])
        assert (idle.cur_load, idle.num_requests_working, idle.num_requests_recieved) == (0.0, 0, 1)


async def test_a_request_that_is_tried_again_is_counted_once(tmp_path: Path) -> None:
    """Fault 26: ``num_requests_recieved`` counts distinct requests."""
    async with a_worker(tmp_path) as rig:
        for _ in range(3):
            await serve(rig, 1, first_idx=8)
        report = await rig.engine.reports.where(lambda report: report.num_requests_recieved)
        await rig.settled(served=3)
        assert report.num_requests_recieved == 1
        assert rig.runtime.books.ledger.distinct_requests == 1


async def test_a_slow_engine_address_blocks_neither_the_others_nor_requests(tmp_path: Path) -> None:
    """Fault 27: and once another has answered, that one is asked first."""
    async with FakeEngine() as slow, FakeEngine(mtoken=MTOKEN) as quick:
        for path in (REPORTS, FINISHED):
            slow.on(path, by_hand)
        settings = {"report_addrs": (slow.url, quick.url)}
        async with a_worker(tmp_path, engine=quick, settings=settings) as rig:
            await slow.requests.next()
            await serve(rig, 3)
            await quick.finished.at_least(3)
            await quick.reports.where(lambda report: report.new_load)
            asked = len(slow.requests)
            await serve(rig, 3, first_idx=4)
            await quick.finished.at_least(6)
            assert len(slow.requests) == asked


async def test_an_engine_that_is_away_is_told_when_it_is_back(tmp_path: Path) -> None:
    """Fault 27."""
    async with FakeEngine(mtoken=MTOKEN, listening=False) as engine, a_worker(tmp_path, engine=engine) as rig:
        await serve(rig, 2)
        await engine.listen()
        await engine.finished.at_least(2)
        report = await engine.reports.where(lambda report: report.new_load)
        assert report.new_load == 20.0


async def test_the_last_report_comes_when_the_worker_has_stopped(tmp_path: Path) -> None:
    """Fault 26: and with it the requests that finished in the last moment."""
    async with a_worker(tmp_path, settings={"report_interval_s": 3600.0}) as rig:
        await serve(rig, 2)
        engine = rig.engine
    assert engine.reports[-1].state == "draining"
    assert new_load(engine.reports) == 20.0
    assert {request.request_idx for request in engine.finished} == {1, 2}
